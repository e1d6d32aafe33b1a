"""Voice activity detection: speech probabilities, and the speech mask made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio import silero
from phi4audio_cli.audio.resample import reblock
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

Probabilities = npt.NDArray[np.float32]
SpeechMask = npt.NDArray[np.bool_]

ONSET_THRESHOLD = 0.5
"""Probability at which speech begins."""

OFFSET_THRESHOLD = 0.35
"""Speech ends where the probability falls below this and stays below ONSET_THRESHOLD for
MIN_SILENCE_WINDOWS."""

MIN_SILENCE_WINDOWS = 4
"""Shortest pause (128 ms); a shorter one is a stop consonant."""

MIN_SPEECH_WINDOWS = 3
"""Shortest speech (96 ms); a shorter sound is a click."""

WINDOWS_PER_PASS = 256
"""Windows of one pass of the detector (8.2 s); constant, so that the blocks do not matter."""

TARGET_RMS = 0.2
"""Root mean square at which the detector works best; quieter speech is amplified to it."""

MAX_GAIN = 30.0
"""Largest amplification; a larger one would amplify the noise of a quiet room."""


class Detector(Protocol):
    """Estimates the probability of speech in each window of a recording."""

    def window_length(self, sample_rate: int) -> int:
        """Return the window's length in samples."""
        ...

    def detect(
        self, blocks: Iterable[Samples], sample_rate: int
    ) -> Iterator[tuple[Samples, Probabilities]]:
        """Yield all samples, in parts, with the probability of speech in each window.

        All parts are whole windows, but the last window of the recording may be shorter.
        """
        ...


class SileroDetector:
    """Silero's network on the CPU, in the caller's thread; many recordings may share it.

    The weights are read with torch at first use. They are pickled with it, so that the process
    that receives it does not load torch.
    """

    def __init__(self) -> None:
        self._networks: dict[int, silero.SileroNetwork] = {}

    def __getstate__(self) -> dict[int, silero.SileroNetwork]:
        return {rate: self._network(rate) for rate in (WIDE_BAND, NARROW_BAND)}

    def __setstate__(self, networks: dict[int, silero.SileroNetwork]) -> None:
        self._networks = networks

    def _network(self, sample_rate: int) -> silero.SileroNetwork:
        return self._networks.get(sample_rate) or silero.load(sample_rate)

    def window_length(self, sample_rate: int) -> int:
        """Return the window's length in samples: 32 ms."""
        return silero.window_length(sample_rate)

    def detect(
        self, blocks: Iterable[Samples], sample_rate: int
    ) -> Iterator[tuple[Samples, Probabilities]]:
        """Yield all samples, in parts, with the probability of speech in each window.

        Raises:
            ModelError: silero-vad is not installed.
        """
        network = self._network(sample_rate)
        state = network.initial_state()
        for samples in reblock(blocks, WINDOWS_PER_PASS * network.window):
            padding = -len(samples) % network.window
            padded = np.pad(samples, (0, padding)) if padding else samples
            probabilities, state = network.forward(normalize_gain(padded, network.window), state)
            yield samples, probabilities


def normalize_gain(samples: Samples, window: int) -> Samples:
    """Amplify quiet samples for the detector, which misses quiet voices.

    Args:
        samples: Whole windows, shape (length,).
        window: Length of a window in samples.

    Returns:
        Samples in [-1, 1], for the detector only; loud samples are unchanged.
    """
    loudness = np.sqrt(np.square(samples.reshape(-1, window)).mean(axis=1))
    # Words fill most of the samples, or they are few and the rest is noise.
    typical, peak = np.quantile(loudness, [0.9, 0.98])
    level = max(float(typical), float(peak) / 4)
    if level >= TARGET_RMS or not level:
        return samples
    gain = np.float32(min(TARGET_RMS / level, MAX_GAIN))
    loud: Samples = np.clip(samples * gain, -1, 1)
    return loud


class SpeechSegmenter:
    """Decide for each window whether it is speech, from a stream of probabilities.

    Speech begins and ends at different thresholds (hysteresis); short pauses count as speech,
    clicks do not. A decision needs some of the following windows.
    """

    def __init__(self) -> None:
        self._undecided = 0
        """Undecided windows, the current one included."""
        self._trailing_silence = 0
        """The last windows of these that may be the pause after speech."""
        self._in_speech = False
        self._speech_confirmed = False

    def push(self, probabilities: Probabilities) -> SpeechMask:
        """Add windows, and return the decisions that became possible, in order."""
        decided: list[bool] = []
        for probability in probabilities.tolist():
            self._undecided += 1
            if self._in_speech:
                self._continue_speech(probability, decided)
            elif probability >= ONSET_THRESHOLD:
                self._in_speech, self._speech_confirmed, self._trailing_silence = True, False, 0
            else:
                self._decide(1, False, decided)
        return np.array(decided, dtype=np.bool_)

    def finish(self) -> SpeechMask:
        """Return the decisions for all remaining windows: the recording has ended."""
        decided: list[bool] = []
        if self._in_speech:
            self._end_speech(decided)
        return np.array(decided, dtype=np.bool_)

    def _continue_speech(self, probability: float, decided: list[bool]) -> None:
        if probability >= ONSET_THRESHOLD:
            self._trailing_silence = 0
        elif probability < OFFSET_THRESHOLD or self._trailing_silence:
            self._trailing_silence += 1
        if self._trailing_silence == MIN_SILENCE_WINDOWS:
            self._end_speech(decided)
        elif self._trailing_silence == 0:
            self._speech_confirmed = self._speech_confirmed or self._undecided >= MIN_SPEECH_WINDOWS
            if self._speech_confirmed:
                self._decide(self._undecided, True, decided)

    def _end_speech(self, decided: list[bool]) -> None:
        length = self._undecided - self._trailing_silence
        self._decide(length, self._speech_confirmed or length >= MIN_SPEECH_WINDOWS, decided)
        self._decide(self._trailing_silence, False, decided)
        self._in_speech, self._trailing_silence = False, 0

    def _decide(self, windows: int, speech: bool, decided: list[bool]) -> None:
        decided.extend([speech] * windows)
        self._undecided -= windows
