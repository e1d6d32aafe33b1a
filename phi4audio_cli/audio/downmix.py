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

PHASE_SECONDS = 0.1
"""Window in which the energies are compared."""

GUESSED_LAYOUTS = {
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""Usual layouts by the number of channels, for files that store none."""

MAX_LFE_HERTZ = 400
"""Mean frequency up to which a channel has low frequencies only."""


class Downmixer:
    """Turns the frames of one recording into mono.

    Args:
        channel: `left` and `right` are the first two channels; both are the only one where a
            recording is mono for a while.
    """

    def __init__(self, channel: Channel = "mix") -> None:
        self._channel = channel
        self._opposed: dict[tuple[int, int], bool] = {}

    def mix(self, frames: Frames) -> Samples:
        """Return mono samples of shape (length,), C-contiguous; invalid samples become silence."""
        samples = _without_invalid(frames.samples)
        channels = samples.shape[1]
        if self._channel != "mix":
            index = 1 if self._channel == "right" else 0
            return np.array(samples[:, min(index, channels - 1)], dtype=np.float32)
        if channels == 1:
            return np.array(samples[:, 0], dtype=np.float32)
        layout = frames.layout or _guess_layout(samples, frames.rate)
        gains = channel_gains(layout, channels)
        total: Samples = samples[:, 0] * np.float32(gains[0])
        signs = self._signs(samples, layout, max(1, int(PHASE_SECONDS * frames.rate)))
        # By columns: numpy's product over a short last axis takes several times as long.
        for index, gain in enumerate(gains[1:], start=1):
            if gain:
                total += samples[:, index] * np.float32(gain) * signs.get(index, np.float32(1))
        return total

    def _signs(
        self, samples: npt.NDArray[np.float32], layout: Sequence[str], window: int
    ) -> dict[int, Samples]:
        """Return the sign of each sample of the channels whose phase may be opposed."""
        signs = {}
        for pair in _pair_indices(layout, samples.shape[1]):
            left, right = samples[:, pair[0]], samples[:, pair[1]]
            opposed = opposed_windows(left, right, window, self._opposed.get(pair, False))
            self._opposed[pair] = opposed[-1]
            if any(opposed):
                by_window = np.where(opposed, np.float32(-1), np.float32(1))
                signs[pair[1]] = np.repeat(by_window, window)[: len(samples)]
        return signs


def opposed_windows(left: Samples, right: Samples, window: int, opposed: bool) -> list[bool]:
    """Decide for each window whether two channels have opposed phases.

    Args:
        left: Samples of one channel, shape (length,), not empty.
        right: Samples of the other.
        window: Length of a window; the last one may be shorter.
        opposed: Decision for the window before, which counts where neither is clear.
    """
    starts = range(0, len(left), window)
    sums = np.add.reduceat(np.square(left + right), starts)
    differences = np.add.reduceat(np.square(left - right), starts)
    decisions = []
    for total, difference in zip(sums.tolist(), differences.tolist(), strict=True):
        if difference > OPPOSED_RATIO * total:
            opposed = True
        elif total >= difference:
            opposed = False
        decisions.append(opposed)
    return decisions


def _guess_layout(samples: npt.NDArray[np.float32], rate: int) -> tuple[str, ...]:
    """Return the usual layout of a number of channels, if the fourth has low frequencies only.

    Six channels may also be six microphones, all of which count.
    """
    layout = GUESSED_LAYOUTS.get(samples.shape[1], ())
    if not layout:
        return ()
    low = samples[:, layout.index("LFE")]
    # The energy of a tone's difference is (2 sin(pi f / rate))^2 times its own.
    limit = (2 * np.pi * MAX_LFE_HERTZ / rate) ** 2
    return layout if np.square(np.diff(low)).sum() <= limit * np.square(low).sum() else ()


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
