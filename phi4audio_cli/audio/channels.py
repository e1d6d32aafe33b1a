"""From a recording's channels to the one that is heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from phi4audio_cli.types import Channel, Samples

LOUDEST = 2.0**31
"""No real sample is larger, whatever its scale: beyond it a float file is damaged."""


def pick(frames: npt.NDArray[Any], channel: Channel = "mix") -> Samples:
    """Take one channel, or the average of all; what can't be a sample becomes silence.

    Args:
        frames: float32, shape (length, channels).
        channel: `left` and `right` are the first two; where a damaged recording has only one for
            a while, both are that one.

    Returns:
        Shape (length,), C-contiguous.
    """
    sound = np.abs(frames) <= LOUDEST  # False for NaN and infinities too
    if not sound.all():
        frames = np.where(sound, frames, np.float32(0))
    if channel != "mix":
        wanted = 1 if channel == "right" else 0
        return np.array(frames[:, min(wanted, frames.shape[1] - 1)], dtype=np.float32)
    # Whole columns: numpy's mean over a short last axis takes several times as long.
    total: Samples = np.array(frames[:, 0], dtype=np.float32)
    for each in range(1, frames.shape[1]):
        total += frames[:, each]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total
