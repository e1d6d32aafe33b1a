"""Recordings for evaluation: held-out digits joined into samples, with a little noise."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .digit_corpus import TEST_VOICES, Recording, read_fsdd, resample, speak_digits
from .mel_features import SAMPLE_RATE, Floats, log_mel, mel_power

PHONE_RATE = 8_000
WINDOW_SECONDS = 40.0


@dataclass(frozen=True)
class DigitRecording:
    """A joined recording: mono samples at a rate, and the digits said in it."""

    samples: Floats
    rate: int
    digits: list[int]
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each digit, in seconds."""

    def features(self) -> Floats:
        """Returns what the model reads of it; telephone audio stays narrow, as in the tool."""
        return log_mel(mel_power(self.samples, narrow=self.rate == PHONE_RATE))


class RecordingBuilder:
    """Joins single digits into recordings, all digits of one by the same voice."""

    def __init__(self, recordings: list[Recording], rate: int, seed: int) -> None:
        """Sets up a studio.

        Args:
            recordings: single digits.
            rate: sample rate of what is made: 16,000, or 8,000 for the telephone.
            seed: the same seed makes the same recordings.
        """
        self.rate, self.rng = rate, np.random.default_rng(seed)
        self.takes: dict[str, dict[int, list[Floats]]] = defaultdict(lambda: defaultdict(list))
        for one in recordings:
            samples = resample(one.samples, one.rate, rate)
            self.takes[one.voice][one.digit].append(samples)

    def short(self, count: int) -> DigitRecording:
        """Joins so many digits, at most as many as fit into 40 s."""
        return self._join(count)

    def full(self) -> DigitRecording:
        """Joins digits until 40 s are full."""
        return self._join(10_000)

    def _join(self, most: int) -> DigitRecording:
        rng, limit = self.rng, int(WINDOW_SECONDS * self.rate)
        takes = self.takes[str(rng.choice(sorted(self.takes)))]
        parts = [self._silence(0.1, 0.5)]
        digits: list[int] = []
        spans: list[tuple[float, float]] = []
        used = len(parts[0])
        while len(digits) < most:
            digit = int(rng.integers(10))
            word = takes[digit][rng.integers(len(takes[digit]))]
            gap = self._silence(0.05, 0.6)
            if used + len(word) + len(gap) > limit:
                break
            parts += [word, gap]
            digits.append(digit)
            spans.append((used / self.rate, (used + len(word)) / self.rate))
            used += len(word) + len(gap)
        samples = np.concatenate(parts)
        loudness = np.sqrt(np.mean(np.concatenate(parts[1::2]) ** 2))
        level = loudness * 10 ** (-rng.uniform(20, 40) / 20)
        noise = rng.standard_normal(len(samples)).astype(np.float32)
        return DigitRecording(samples + level * noise, self.rate, digits, spans)

    def _silence(self, least: float, most: float) -> Floats:
        return np.zeros(int(self.rng.uniform(least, most) * self.rate), dtype=np.float32)


def recording_builders(fsdd: Path, split: str, seed: int) -> dict[str, RecordingBuilder]:
    """Returns the studios of a split: real voices wide and narrow, and left-out synthetic ones."""
    real = read_fsdd(fsdd, split)
    return {
        "real voices, 16 kHz": RecordingBuilder(real, SAMPLE_RATE, seed),
        "real voices, 8 kHz": RecordingBuilder(real, PHONE_RATE, seed + 1),
        "unheard espeak-ng voices": RecordingBuilder(
            speak_digits(TEST_VOICES), SAMPLE_RATE, seed + 2
        ),
    }
