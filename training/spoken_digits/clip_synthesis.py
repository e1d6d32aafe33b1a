"""Random training clips: digits of one or two voices, mixed as mel power."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.spoken_digits.digit_corpus import LEAD_FRAMES, SPEEDS, Bank
from training.spoken_digits.mel_features import (
    FRAMES_PER_TOKEN,
    MEL_BANDS,
    Floats,
    log_mel,
    mel_filters,
    mel_power,
    narrow_bands,
    token_count,
)

NO_DIGIT = 10  # the label for silence, or no digit yet
_MOST_WORDS = 95
_REAL_SHARE = 0.7
_PHONE_SHARE = 0.4
_SILENT_SHARE = 0.025


class PlacedWord(NamedTuple):
    """A word of a clip: its digit and position, in feature frames (10 ms)."""

    digit: int
    start: int
    stop: int


@dataclass
class Clip:
    """A training clip: features of shape (frames, 80) and the words in them, in order."""

    features: Floats
    words: list[PlacedWord]


class Labels(NamedTuple):
    """Targets for the encoder frames (80 ms) of a clip, one for each frame.

    `spoken` is the current digit or NO_DIGIT, `begun` the number of words begun so far, and
    `latest[k]` the k-th last digit begun or NO_DIGIT.
    """

    spoken: NDArray[np.int64]
    begun: NDArray[np.int64]
    latest: NDArray[np.int64]


def frame_labels(words: list[PlacedWord], frames: int) -> Labels:
    """Compute the labels of every encoder frame of a clip with `frames` feature frames."""
    centres = np.arange(token_count(frames)) * FRAMES_PER_TOKEN
    starts = np.array([word.start for word in words], dtype=np.int64)
    begun = np.searchsorted(starts, centres + 1, side="right")
    padded = np.array([NO_DIGIT] * 4 + [word.digit for word in words], dtype=np.int64)
    latest = np.stack([padded[begun + 3 - back] for back in range(4)])
    stops = np.array([0] + [word.stop for word in words], dtype=np.int64)
    spoken = np.where(centres + 1 < stops[begun], latest[0], NO_DIGIT)
    return Labels(spoken, begun, latest)


class ClipSampler:
    """Draw clips from a bank of recorded digits."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.rng = np.random.default_rng(seed)

    def clip(self, frames: int) -> Clip:
        """Draw one clip of exactly `frames` feature frames."""
        narrow = self.rng.random() < _PHONE_SHARE
        power = np.zeros((frames, MEL_BANDS), dtype=np.float32)
        words = [] if self.rng.random() < _SILENT_SHARE else self._place(power, narrow)
        return Clip(self._finish(power, words, narrow), words)

    def _place(self, power: Floats, narrow: bool) -> list[PlacedWord]:
        """Add words to a silent clip until it is full; return their positions."""
        rng, frames = self.rng, len(power)
        voices, digits, gaps = self._voices(), self._digits(), self._gaps()
        end = frames - self._margin(frames)
        most = int(rng.integers(1, 20)) if rng.random() < 0.12 else _MOST_WORDS
        speed = int(rng.integers(len(SPEEDS)))
        position, voice = LEAD_FRAMES + self._margin(frames), voices[0]
        words: list[PlacedWord] = []
        while len(words) < most:
            if rng.random() < 0.15:
                voice = voices[rng.integers(len(voices))]
            if rng.random() < 0.3:
                speed = int(rng.integers(len(SPEEDS)))
            digit = next(digits)
            choices = self.bank.takes[voice, digit, narrow, speed]
            take = choices[rng.integers(len(choices))]
            stop = position + len(take) - 4
            if stop > end or position - LEAD_FRAMES + len(take) > frames:
                break
            gain = np.float32(np.exp(rng.uniform(-0.7, 0.7)))
            power[position - LEAD_FRAMES : position - LEAD_FRAMES + len(take)] += take * gain
            words.append(PlacedWord(digit, position, stop))
            position = stop + next(gaps)
        return words

    def _margin(self, frames: int) -> int:
        """Draw the silence before or after the words, in frames."""
        seconds = self.rng.uniform(0.0, 0.6 if self.rng.random() < 0.75 else 2.5)
        return int(min(100 * seconds, frames // 5))

    def _voices(self) -> list[str]:
        """Draw the voice of the clip, or two voices in a fifth of the clips."""
        real = self.rng.random() < _REAL_SHARE
        names = (self.bank.real if real else self.bank.synthetic) or self.bank.real
        return list(self.rng.choice(names, size=2 if self.rng.random() < 0.2 else 1))

    def _digits(self) -> Iterator[int]:
        """Yield digits: all ten or a few, and sometimes repetitions of one."""
        rng = self.rng
        choices = rng.permutation(10)[: rng.integers(1, 4)] if rng.random() < 0.12 else range(10)
        repeat = 0.5 if rng.random() < 0.12 else 0.0
        digit = int(rng.choice(choices))
        while True:
            yield digit
            if rng.random() >= repeat:
                digit = int(rng.choice(choices))

    def _gaps(self) -> Iterator[int]:
        """Yield the silence between words in frames: dense or loose speech, some pauses."""
        rng = self.rng
        least = rng.uniform(0.02, 0.25)
        width = rng.uniform(0.02, 0.35) if rng.random() < 0.6 else rng.uniform(0.2, 1.3)
        pauses = rng.choice([0.0, 0.04, 0.15], p=[0.65, 0.2, 0.15])
        while True:
            pause = rng.uniform(1.0, 4.0) if rng.random() < pauses else 0.0
            yield int(100 * (least + width * rng.random() + pause))

    def _finish(self, power: Floats, words: list[PlacedWord], narrow: bool) -> Floats:
        """Apply vocal tract, loudness, tone, noise and the telephone, and takes the logarithm."""
        rng = self.rng
        power = power @ _warp(round(float(rng.uniform(-0.1, 0.1)), 2))
        power *= _smooth(rng, 1.0) * np.float32(np.exp(rng.uniform(-4.0, 2.0)))
        if rng.random() < 0.85:
            power = self._add_noise(power, words, narrow)
        if narrow:
            power[:, narrow_bands() :] = 0.0
        return log_mel(power)

    def _add_noise(self, power: Floats, words: list[PlacedWord], narrow: bool) -> Floats:
        """Add coloured noise, 3 to 45 dB below the words, of slowly varying loudness."""
        rng, frames = self.rng, len(power)
        spoken = sum(word.stop - word.start for word in words)
        level = power.sum() / spoken / MEL_BANDS if words else np.exp(rng.uniform(4.0, 17.0))
        ratio = np.exp(rng.uniform(-10.4, -0.7 if rng.random() < 0.3 else -2.3))
        white = _white_noise()
        offset = rng.integers(len(white) - frames)
        whiteness = rng.uniform(0.9, 1.05) if rng.random() < 0.3 else rng.uniform(-0.3, 1.0)
        colour = _smooth(rng, 0.7) * _white_colour() ** np.float32(whiteness)
        colour /= colour[: narrow_bands() if narrow else None].mean()
        swell = np.interp(np.arange(frames), *_swell(rng, frames))
        noise = white[offset : offset + frames] * (level * ratio * colour).astype(np.float32)
        noise *= swell.astype(np.float32)[:, None]
        phases = rng.standard_normal(power.shape, dtype=np.float32) * _band_spread()
        # |a + b|^2: the product of the two amplitudes has a random sign in every band.
        mixed: Floats = np.maximum(power + noise + 2.0 * np.sqrt(power * noise) * phases, 0.0)
        return mixed


def _swell(rng: np.random.Generator, frames: int) -> tuple[Floats, Floats]:
    """Draw a few points of a slow loudness curve: frames and factors."""
    points = max(2, frames // 300)
    factors = np.exp(rng.uniform(-0.7, 0.7, points)).astype(np.float32)
    return np.linspace(0, frames, points, dtype=np.float32), factors


def _smooth(rng: np.random.Generator, strength: float) -> Floats:
    """Draw a smooth random tone curve over the mel bands, as power factors."""
    knots = rng.normal(0.0, strength, 6)
    curve = np.interp(np.linspace(0, 5, MEL_BANDS), np.arange(6), knots)
    factors: Floats = np.exp(curve).astype(np.float32)
    return factors


@cache
def _raw_white_noise() -> Floats:
    """Return a minute and a half of white noise as mel power."""
    return mel_power(np.random.default_rng(7).standard_normal(90 * 16_000).astype(np.float32))


@cache
def _white_noise() -> Floats:
    """Return the white noise with mean one in every band."""
    power = _raw_white_noise()
    level: Floats = power / power.mean(axis=0)
    return level


@cache
def _white_colour() -> Floats:
    """Return the mean power of white noise in every band: pre-emphasis makes it very bright."""
    power = _raw_white_noise().mean(axis=0)
    colour: Floats = power / power.mean()
    return colour


@cache
def _band_spread() -> Floats:
    """Return the spread of each band's cross term due to the phases of its bins, shape (80,)."""
    bins = np.maximum(mel_filters().sum(axis=0), 1.0)
    spread: Floats = (0.7 / np.sqrt(bins)).astype(np.float32)
    return spread


@cache
def _warp(amount: float) -> Floats:
    """Return the matrix that multiplies the frequency of every mel band's power by 1 + amount."""
    mel = np.linspace(0.0, 1.0, MEL_BANDS) * 2840.0  # 8 kHz in mel
    hertz = 700.0 * (np.exp(mel / 1127.0) - 1.0)
    source = np.interp(hertz / (1.0 + amount), hertz, np.arange(MEL_BANDS))
    low = np.clip(np.floor(source).astype(int), 0, MEL_BANDS - 2)
    part = source - low
    matrix = np.zeros((MEL_BANDS, MEL_BANDS), dtype=np.float32)
    columns = np.arange(MEL_BANDS)
    matrix[low, columns] += 1.0 - part
    matrix[low + 1, columns] += part
    return matrix


def mask_bands(features: Floats, rng: np.random.Generator, fill: Floats) -> Floats:
    """Replace up to two groups of at most eight mel bands by their mean, in half of the clips."""
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 3)):
            width = int(rng.integers(2, 9))
            low = int(rng.integers(0, MEL_BANDS - width))
            features[:, low : low + width] = fill[low : low + width]
    return features
