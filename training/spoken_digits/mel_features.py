"""Mel power spectra before the logarithm, so that sounds can be mixed by addition."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 100
MEL_BANDS = 80
FRAMES_PER_TOKEN = 8
_PREEMPHASIS = 0.97
_INT16_SCALE = 32_768.0


@cache
def mel_filters() -> Floats:
    """Return the filter bank of the real front end, shape (257 frequency bins, 80 bands)."""
    from transformers import Phi4MultimodalFeatureExtractor

    return np.asarray(Phi4MultimodalFeatureExtractor().mel_filters, dtype=np.float32)


@cache
def narrow_bands() -> int:
    """Return the number of mel bands with weight below 4 kHz; telephone audio has no others."""
    return int((mel_filters()[:128].sum(axis=0) > 0).sum())


def mel_power(samples: Floats, *, narrow: bool = False) -> Floats:
    """Compute the mel power of a recording.

    Args:
        samples: mono, -1 to 1; at 16 kHz, or at 8 kHz when `narrow`.
        narrow: frame at 8 kHz, as the model's own front end does with telephone audio.

    Returns:
        Power, shape (frames, 80), 100 frames per second. The features are its logarithm, at least
        0.
    """
    window, hop, size = (200, 80, 256) if narrow else (400, 160, 512)
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    previous = np.roll(frames, 1, axis=1)
    previous[:, 0] = frames[:, 0]
    emphasized = (frames - _PREEMPHASIS * previous) * _INT16_SCALE * np.hamming(window)
    power = np.abs(np.fft.rfft(emphasized, n=size, axis=1)).astype(np.float32) ** 2
    return power @ mel_filters()[: power.shape[1]]


def log_mel(power: Floats) -> Floats:
    """Return the model's features for a mel power, same shape."""
    return np.log(np.maximum(power, 1.0), dtype=np.float32)


def token_count(frames: int) -> int:
    """Return the number of encoder frames (80 ms) of a number of feature frames."""
    return -(-frames // FRAMES_PER_TOKEN)
