"""Streaming resampling and re-blocking; the results do not depend on the blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from operator import itemgetter

import numpy as np

from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

SOXR_QUALITY = "VHQ"
"""soxr's best quality; little slower than "HQ", and below a thousandth of the model's time."""


def output_rate(rate: int) -> int:
    """Return the sample rate for the model: 8 kHz for telephone audio, else 16 kHz."""
    return NARROW_BAND if rate == NARROW_BAND else WIDE_BAND


def resample(blocks: Iterable[tuple[int, Samples]], rate: int) -> Iterator[Samples]:
    """Resample the blocks of a recording to one sample rate.

    Args:
        blocks: Mono audio and its sample rate, Hz; the rate may change within a recording.
        rate: Output sample rate, Hz.

    Yields:
        Mono float32; the lengths follow soxr's filter and may be 0.
    """
    for own_rate, group in itertools.groupby(blocks, key=itemgetter(0)):
        samples = (block for _, block in group)
        yield from samples if own_rate == rate else _resample_run(samples, own_rate, rate)


def _resample_run(blocks: Iterable[Samples], source_rate: int, rate: int) -> Iterator[Samples]:
    import soxr

    stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality=SOXR_QUALITY)
    for block in blocks:
        yield stream.resample_chunk(block, last=False)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def reblock(blocks: Iterable[Samples], length: int) -> Iterator[Samples]:
    """Divide blocks of any lengths into blocks of one length; the last may be shorter."""
    pending: list[Samples] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += len(block)
        if count < length:
            continue
        joined = np.concatenate(pending)
        whole = count - count % length
        for start in range(0, whole, length):
            yield joined[start : start + length]
        pending, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(pending)
