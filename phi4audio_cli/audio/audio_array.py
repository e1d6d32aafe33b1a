"""Recordings in memory: checks of the array, and the source that the decoder pipeline reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from phi4audio_cli.audio.audio_source import VALID_SAMPLE_RATES, Frames
from phi4audio_cli.audio.decode import BLOCK_SECONDS, Recording
from phi4audio_cli.errors import AudioError, UsageError
from phi4audio_cli.types import AudioArray, Channel

INT16_SCALE = np.float32(1 / 32768)

MAX_CHANNELS = 64
"""An array with more columns is taken for one of shape (channels, length)."""


def make_audio_array(samples: object, sample_rate: object, name: str) -> AudioArray:
    """Check an array that a caller gives.

    Args:
        samples: float32 in [-1, 1] or int16, shape (length,) or (length, channels).
        sample_rate: Hz.
        name: Names the array in messages.

    Raises:
        UsageError: Its type, shape, sample rate or values can't be used.
    """
    if not isinstance(samples, np.ndarray):
        kind = type(samples).__name__
        raise UsageError(f"unsupported type {kind}", name, "give a path or a numpy array")
    _check_sample_rate(sample_rate, name)
    if samples.dtype not in (np.float32, np.int16):
        remedy = "convert it to float32 in [-1, 1], or to int16"
        raise UsageError(f"unsupported dtype {samples.dtype}", name, remedy)
    _check_shape(samples.shape, name)
    if not np.isfinite(samples).all():
        raise UsageError("NaN or infinite samples", name, "replace them, for example with zeros")
    return AudioArray(samples, int(cast("int", sample_rate)))


def _check_sample_rate(rate: object, name: str) -> None:
    limits = f"{VALID_SAMPLE_RATES.start} to {VALID_SAMPLE_RATES.stop - 1} Hz"
    is_number = isinstance(rate, int | np.integer) and not isinstance(rate, bool)
    if not is_number or rate not in VALID_SAMPLE_RATES:
        raise UsageError(f"invalid sample rate {rate!r}", name, f"give sample_rate, {limits}")


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) not in (1, 2) or (len(shape) == 2 and not shape[1]):
        remedy = "give shape (length,) or (length, channels)"
        raise UsageError(f"unsupported shape {shape}", name, remedy)
    if len(shape) == 2 and shape[1] > MAX_CHANNELS:
        remedy = "give shape (length, channels): transpose an array of (channels, length)"
        raise UsageError(f"{shape[1]} channels in shape {shape}", name, remedy)


class ArraySource:
    """A recording in memory as an `AudioSource`: converted block by block, never copied whole.

    Attributes:
        damage: None: an array has no container that can be damaged.
    """

    damage: str | None = None

    def __init__(self, audio: AudioArray) -> None:
        self._frames = audio.samples[:, None] if audio.samples.ndim == 1 else audio.samples
        self.rate = int(audio.sample_rate)
        self.channels = self._frames.shape[1]
        self.seconds: float | None = len(self._frames) / self.rate

    def frames(self) -> Iterator[Frames]:
        """Yield the samples as float32, in blocks."""
        step = BLOCK_SECONDS * self.rate
        for start in range(0, len(self._frames), step):
            block = self._frames[start : start + step]
            scaled = block * INT16_SCALE if block.dtype == np.int16 else block
            yield Frames(self.rate, scaled.astype(np.float32, copy=False))

    def close(self) -> None:
        """Do nothing: the caller owns the array."""


@contextmanager
def open_array(audio: AudioArray, name: Path, channel: Channel = "mix") -> Iterator[Recording]:
    """Open a recording in memory, as `open_audio` opens a file.

    Args:
        audio: An array as `make_audio_array` returns it.
        name: Names it in messages.
        channel: The channel to read, of several.

    Raises:
        AudioError: It has no such channel.
    """
    source = ArraySource(audio)
    if channel != "mix" and source.channels == 1:
        raise AudioError(f"mono: no {channel} channel", str(name), 'use channel="mix"')
    yield Recording(name, source, channel)
