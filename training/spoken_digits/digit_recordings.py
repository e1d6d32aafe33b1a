"""Recordings for evaluation: held-out digits joined into samples, with a little noise."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.spoken_digits.digit_corpus import (
    TEST_VOICES,
    Recording,
    read_fsdd,
    resample,
    speak_digits,
)
from training.spoken_digits.mel_features import SAMPLE_RATE, Floats, log_mel, mel_power

PHONE_RATE = 8_000
WINDOW_SECONDS = 40.0


@dataclass(frozen=True)
class DigitRecording:
    """A joined recording: mono samples at a rate, and its digits."""

    samples: Floats
    rate: int
    digits: list[int]
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each digit, in seconds."""

    def features(self) -> Floats:
        """Return the features of the recording; telephone audio stays narrow-band."""
        return log_mel(mel_power(self.samples, narrow=self.rate == PHONE_RATE))


class RecordingBuilder:
    """Join single digits into recordings, all digits of one by the same voice."""

    def __init__(self, recordings: list[Recording], rate: int, seed: int) -> None:
        """Set up the builder.

        Args:
            recordings: single digits.
            rate: sample rate of the recordings: 16,000, or 8,000 for telephone audio.
            seed: of the recordings.
        """
        self.rate, self.rng = rate, np.random.default_rng(seed)
        self.takes: dict[str, dict[int, list[Floats]]] = defaultdict(lambda: defaultdict(list))
        for one in recordings:
            samples = resample(one.samples, one.rate, rate)
            self.takes[one.voice][one.digit].append(samples)

    def short(self, count: int) -> DigitRecording:
        """Join `count` digits, or fewer if 40 s are full."""
        return self._join(count)

    def full(self) -> DigitRecording:
        """Join digits until 40 s are full."""
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
    """Return the builders of a split: real voices at both rates, and new synthetic voices.

    Without espeak-ng there are no synthetic voices, and a line on standard error says so.
    """
    real = read_fsdd(fsdd, split)
    builders = {
        "real voices, 16 kHz": RecordingBuilder(real, SAMPLE_RATE, seed),
        "real voices, 8 kHz": RecordingBuilder(real, PHONE_RATE, seed + 1),
    }
    if shutil.which("espeak-ng"):
        synthetic = speak_digits(TEST_VOICES)
        builders["new espeak-ng voices"] = RecordingBuilder(synthetic, SAMPLE_RATE, seed + 2)
    else:
        print("espeak-ng is not installed: its voices are left out", file=sys.stderr)
    return builders
