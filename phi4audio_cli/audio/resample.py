"""Change of sample rate over a stream, equal to doing it on the whole at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from operator import itemgetter

import numpy as np

from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

SOXR_QUALITY = "VHQ"
"""soxr's best; it costs little more than "HQ", and less than a thousandth of the model's time."""


def output_rate(rate: int) -> int:
    """Return the rate the model hears a recording at: telephone audio as it is, else 16 kHz."""
    return NARROW_BAND if rate == NARROW_BAND else WIDE_BAND


def resample(blocks: Iterable[tuple[int, Samples]], rate: int) -> Iterator[Samples]:
    """Bring pieces of one recording to one sample rate.

    Args:
        blocks: Mono audio with its own rate, Hz; a damaged or joined recording may change its
            rate on the way.
        rate: Wanted, Hz.

    Yields:
        Mono float32; the lengths follow soxr's filter and may be 0.
    """
    for own_rate, group in itertools.groupby(blocks, key=itemgetter(0)):
        samples = (piece for _, piece in group)
        yield from samples if own_rate == rate else _resample_run(samples, own_rate, rate)


def _resample_run(blocks: Iterable[Samples], source_rate: int, rate: int) -> Iterator[Samples]:
    import soxr

    stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality=SOXR_QUALITY)
    for piece in blocks:
        yield stream.resample_chunk(piece, last=False)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
