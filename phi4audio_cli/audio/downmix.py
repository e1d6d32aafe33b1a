"""One channel of decoded audio: a selected one, or the downmix of all by the channel layout.

The downmix is that of ITU-R BS.775 for one channel, scaled so that stereo becomes its average: the
centre, which carries the dialogue of films, counts most, and the low-frequency channel is left out.
Channels of a pair with opposed phases would cancel out; one of them is then inverted. The result is
floating point, so that a sum beyond full scale is not clipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio.audio_source import Frames
from phi4audio_cli.types import Channel, Samples

MAX_SAMPLE_MAGNITUDE = 2.0**31
"""Largest real sample of any scale; a larger one means a damaged float file."""

FRONT_GAIN, CENTRE_GAIN, SURROUND_GAIN = 0.5, 0.5**0.5, 0.5**1.5
"""Gains of BS.775 for one channel (0.71, 1, 0.5), each times 0.71."""

CHANNEL_GAINS = {
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "WL", "WR", "DL", "DR"), FRONT_GAIN),
    "FC": CENTRE_GAIN,
    **dict.fromkeys(("LFE", "LFE2"), 0.0),
}
"""Gains by FFmpeg's names of the channels; all others surround the listener."""

PAIRS = (("FL", "FR"), ("FLC", "FRC"), ("WL", "WR"), ("SL", "SR"), ("BL", "BR"), ("DL", "DR"))
"""Channels that usually carry the same speech."""

OPPOSED_RATIO = 4.0
"""Energy of a pair's difference over that of its sum from which on its phases are opposed: a
correlation below -0.6."""

PHASE_SECONDS = 0.25
"""Time constant of the energies that are compared."""


class Downmixer:
    """Turns the frames of one recording into mono.

    Args:
        channel: `left` and `right` are the first two channels; both are the only one where a
            recording is mono for a while.
    """

    def __init__(self, channel: Channel = "mix") -> None:
        self._channel = channel
        self._phases: dict[tuple[int, int], _PhaseDetector] = {}

    def mix(self, frames: Frames) -> Samples:
        """Return mono samples of shape (length,), C-contiguous; invalid samples become silence."""
        samples = _without_invalid(frames.samples)
        channels = samples.shape[1]
        if self._channel != "mix":
            index = 1 if self._channel == "right" else 0
            return np.array(samples[:, min(index, channels - 1)], dtype=np.float32)
        if channels == 1:
            return np.array(samples[:, 0], dtype=np.float32)
        gains = channel_gains(frames.layout, channels)
        for pair in _pair_indices(frames.layout, channels):
            phase = self._phases.setdefault(pair, _PhaseDetector())
            if phase.is_opposed(samples[:, pair[0]], samples[:, pair[1]], frames.rate):
                gains[pair[1]] = -gains[pair[1]]
        return _weighted_sum(samples, gains)


def _without_invalid(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    valid = np.abs(samples) <= MAX_SAMPLE_MAGNITUDE  # False for NaN and infinities too
    return samples if valid.all() else np.where(valid, samples, np.float32(0))


def channel_gains(layout: Sequence[str], channels: int) -> list[float]:
    """Return the gain of each channel in the downmix.

    Args:
        layout: FFmpeg's names of the channels; empty if unknown: then all count the same.
        channels: Number of channels.
    """
    gains = [CHANNEL_GAINS.get(name, SURROUND_GAIN) for name in layout]
    if len(gains) != channels or not any(gains):
        return [1 / channels] * channels
    return gains


def _pair_indices(layout: Sequence[str], channels: int) -> list[tuple[int, int]]:
    if channels == 2:
        return [(0, 1)]
    places = {name: index for index, name in enumerate(layout)}
    return [(places[a], places[b]) for a, b in PAIRS if a in places and b in places]


def _weighted_sum(samples: npt.NDArray[np.float32], gains: Sequence[float]) -> Samples:
    # By columns: numpy's product over a short last axis takes several times as long.
    total: Samples = samples[:, 0] * np.float32(gains[0])
    for index, gain in enumerate(gains[1:], start=1):
        if gain:
            total += samples[:, index] * np.float32(gain)
    return total


class _PhaseDetector:
    """Decides whether two channels cancel each other out, from their recent energies."""

    def __init__(self) -> None:
        self._sum_energy = 0.0
        self._difference_energy = 0.0
        self._opposed = False

    def is_opposed(self, left: Samples, right: Samples, rate: int) -> bool:
        """Take the next samples of both channels, and decide for them."""
        decay = 0.5 ** (len(left) / rate / PHASE_SECONDS)
        self._sum_energy = decay * self._sum_energy + _energy(left + right)
        self._difference_energy = decay * self._difference_energy + _energy(left - right)
        if self._difference_energy > OPPOSED_RATIO * self._sum_energy:
            self._opposed = True
        elif self._sum_energy >= self._difference_energy:
            self._opposed = False
        return self._opposed


def _energy(samples: Samples) -> float:
    return float(np.dot(samples, samples))
