"""Where somebody speaks: probabilities from a detector, marks from probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio import silero
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

Probabilities = npt.NDArray[np.float32]
SpeechMask = npt.NDArray[np.bool_]

ONSET_THRESHOLD = 0.5
"""Speech begins at this probability."""

OFFSET_THRESHOLD = 0.35
"""Speech ends when the probability falls below this, and stays under ENTER for a while."""

MIN_SILENCE_WINDOWS = 4
"""How long that while is (128 ms): what is shorter is a stop consonant, no pause."""

MIN_SPEECH_WINDOWS = 3
"""What is shorter (96 ms) is a click and no speech."""

WINDOWS_PER_PASS = 256
"""Windows heard together (8.2 s). Always as many, so that results don't depend on the blocks."""

TARGET_RMS = 0.2
"""Root mean square of speech that the detector hears best; quieter speech is made so loud."""

MAX_GAIN = 30.0
"""Beyond it, what is made loud is the noise of a quiet room."""


class Detector(Protocol):
    """Gives the probability of speech for each window of a recording."""

    def window_length(self, sample_rate: int) -> int:
        """Return the window's length in samples."""
        ...

    def detect(
        self, blocks: Iterable[Samples], sample_rate: int
    ) -> Iterator[tuple[Samples, Probabilities]]:
        """Hand on all samples, each stretch with a probability for each of its windows.

        All stretches are whole windows but the last, whose last window may be short.
        """
        ...


class SileroDetector:
    """Silero's network on the CPU, one thread's work; it may be shared by many recordings.

    Its weights are read when they are first needed, with torch. When it is pickled they go with
    it, so that a process that gets one need not load torch.
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
        """Hand on all samples with the probability of speech in each window.

        Raises:
            ModelError: silero-vad is not installed.
        """
        network = self._network(sample_rate)
        memory = network.initial_state()
        for samples in reblock(blocks, WINDOWS_PER_PASS * network.window):
            missing = -len(samples) % network.window
            whole = np.pad(samples, (0, missing)) if missing else samples
            probabilities, memory = network.forward(normalize_gain(whole, network.window), memory)
            yield samples, probabilities


def normalize_gain(samples: Samples, window: int) -> Samples:
    """Make a quiet stretch as loud as the detector wants speech: it misses quiet voices.

    Args:
        samples: Whole windows, shape (length,).
        window: Length of a window in samples.

    Returns:
        Samples in [-1, 1], for the detector alone. Loud ones are as they were.
    """
    loudness = np.sqrt(np.square(samples.reshape(-1, window)).mean(axis=1))
    # Words fill most of a stretch, or they are few and the rest is noise.
    usual, peak = np.quantile(loudness, [0.9, 0.98])
    level = max(float(usual), float(peak) / 4)
    if level >= TARGET_RMS or not level:
        return samples
    gain = np.float32(min(TARGET_RMS / level, MAX_GAIN))
    loud: Samples = np.clip(samples * gain, -1, 1)
    return loud


def reblock(blocks: Iterable[Samples], length: int) -> Iterator[Samples]:
    """Divide blocks of any lengths anew, into stretches of one length; the last may be shorter."""
    held: list[Samples] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count < length:
            continue
        joined = np.concatenate(held)
        whole = count - count % length
        for start in range(0, whole, length):
            yield joined[start : start + length]
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


class SpeechSegmenter:
    """Decide for each window whether it is speech, from probabilities as they come.

    Speech begins and ends at different probabilities, so that it doesn't flicker; short pauses
    belong to it, and clicks don't count. Decisions wait for some windows that follow.
    """

    def __init__(self) -> None:
        self._undecided = 0
        """Windows not decided, this one included."""
        self._trailing_silence = 0
        """How many of them, at the end, may be the pause after speech."""
        self._in_speech = False
        self._speech_confirmed = False

    def push(self, probabilities: Probabilities) -> SpeechMask:
        """Take more windows; return the marks that are decided now, in order."""
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
        """Return the marks of all windows that are left."""
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
