"""Split a recording into chunks at its quietest points. Pure and streaming.

A chunk ends at the quietest point of its last third. The chunks depend on the samples alone, not
on the division of the samples into blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from phi4audio_cli.types import Chunk, Samples

ENERGY_FRAME_SECONDS = 0.02
"""Length of an energy frame."""

SMOOTHING_FRAMES = 5
"""Frames of the moving average of the energy: the closure of a plosive is not a pause."""

PAUSE_MARGIN_DECIBELS = 6.0
"""Largest energy of a pause above the quietest frame."""

DYNAMIC_RANGE_DECIBELS = 60.0
"""Energy this far below the loudest frame counts as silence."""

SILENCE_DECIBELS = -50.0
"""Energy up to which a recording is silent, relative to full scale."""

MIN_LIMIT_SECONDS = 0.1
"""Shortest limit: a third of it must fill a window of the feature extractor, seconds."""


def chunk_at_silence(
    blocks: Iterable[Samples], sample_rate: int, limit_seconds: float
) -> Iterator[Chunk]:
    """Split a recording at quiet points into consecutive chunks that cover all of it.

    No chunk is longer than the limit, and none is shorter than a third of it unless the whole
    recording is: where the last chunk would be too short, the rest is split near its middle.

    Args:
        blocks: Mono float32 of any lengths; read only as far as the next cut needs.
        sample_rate: Sample rate of the blocks, Hz.
        limit_seconds: Length of the longest chunk, seconds.

    Raises:
        ValueError: The limit is below 0.1 s.
    """
    if limit_seconds < MIN_LIMIT_SECONDS:
        raise ValueError(f"a limit of {limit_seconds} s is below {MIN_LIMIT_SECONDS} s")
    limit = int(limit_seconds * sample_rate)
    start = 0
    for index, samples in enumerate(_split_blocks(blocks, sample_rate, limit)):
        yield Chunk(index, samples, sample_rate, start)
        start += len(samples)


def _split_blocks(blocks: Iterable[Samples], rate: int, limit: int) -> Iterator[Samples]:
    lookahead = limit + limit // 3
    pending: list[Samples] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += len(block)
        if count <= lookahead:
            continue
        buffer = np.concatenate(pending)
        while len(buffer) > lookahead:
            # More than a third of the limit is left after any cut up to the limit.
            cut = quietest_point(buffer, rate, limit - limit // 3, limit)
            yield buffer[:cut].copy()  # a view would keep the whole buffer alive
            buffer = buffer[cut:]
        pending, count = [buffer], len(buffer)
    if count:
        yield from _split_tail(np.concatenate(pending), rate, limit)


def _split_tail(tail: Samples, rate: int, limit: int) -> Iterator[Samples]:
    """Yield the rest, at most 4/3 of the limit: as one chunk, or as two of similar length."""
    if len(tail) <= limit:
        yield tail
        return
    middle, reach = len(tail) // 2, limit // 6
    cut = quietest_point(tail, rate, middle - reach, middle + reach)
    yield tail[:cut].copy()
    yield tail[cut:].copy()


def quietest_point(samples: Samples, rate: int, low: int, high: int) -> int:
    """Find the best point for a cut: the middle of the longest pause, the last of equals.

    Args:
        samples: Mono, shape (length,).
        rate: Sample rate, Hz.
        low: First position considered.
        high: Last position considered, at most `length`.

    Returns:
        A position in [low, high].
    """
    frame = max(1, int(ENERGY_FRAME_SECONDS * rate))
    count = (high - low) // frame
    if count < 1:
        return high
    level = _smoothed_decibels(samples[low : low + count * frame].reshape(count, frame))
    first, stop = _longest_true_run(
        level <= max(level.min(), level.max() - DYNAMIC_RANGE_DECIBELS) + PAUSE_MARGIN_DECIBELS
    )
    return low + (first + stop) * frame // 2


def _smoothed_decibels(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return smoothed levels, shape (frames,), of samples of shape (frames, length)."""
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    reach = SMOOTHING_FRAMES // 2
    padded = np.pad(power, reach, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTHING_FRAMES, 1 / SMOOTHING_FRAMES), mode="valid")
    return 10 * np.log10(np.maximum(smooth, np.finfo(np.float64).tiny))


def _longest_true_run(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the longest run of True as (first, stop), the last of equals; at least one exists."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.view(np.int8), [0]))))
    firsts, stops = edges[::2], edges[1::2]
    lengths = stops - firsts
    best = len(lengths) - 1 - int(np.argmax(lengths[::-1]))
    return int(firsts[best]), int(stops[best])


def audible_seconds(samples: Samples, rate: int) -> float:
    """Return the length of the audio that is louder than silence, in whole energy frames.

    Args:
        samples: Mono, shape (length,).
        rate: Sample rate, Hz.
    """
    frame = max(1, int(ENERGY_FRAME_SECONDS * rate))
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.square(frames).mean(axis=1)
    return int((power > 10 ** (SILENCE_DECIBELS / 10)).sum()) * frame / rate
