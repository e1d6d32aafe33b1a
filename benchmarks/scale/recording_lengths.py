"""Lengths of recordings: resampled from measured ones, or drawn from assumed distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from phi4audio_cli.cluster.work_queue import LONG_RECORDING_FACTOR

Lengths: TypeAlias = npt.NDArray[np.float64]
"""Seconds of audio of each recording, in the order of the list."""

HOUR = 3600.0
CLIPS = (3.0, 15.0)
CALLS = (60.0, 20 * 60.0)
INTERVIEWS = (30 * 60.0, 3 * HOUR)
"""Assumed ranges in seconds that contain 90 % of the recordings of a kind."""

LONGEST = 10 * HOUR
"""Length of the longest recording of an archive."""

_NORMAL_90 = 1.6449
"""Standard deviations around the mean that contain 90 % of a normal distribution."""


def measured_lengths(folders: Sequence[Path]) -> list[float]:
    """Return the lengths of all recordings in some folders, in seconds."""
    import soundfile

    paths = sorted(each for folder in folders for each in folder.rglob("*"))
    kinds = (".wav", ".flac", ".mp3")
    return [float(soundfile.info(str(path)).duration) for path in paths if path.suffix in kinds]


def log_normal(bounds: tuple[float, float], count: int, rng: np.random.Generator) -> Lengths:
    """Draw lengths, 90 % of them within the bounds and none beyond half or twice a bound."""
    low, high = map(math.log, bounds)
    drawn = rng.lognormal((low + high) / 2, (high - low) / 2 / _NORMAL_90, count)
    return np.clip(drawn, bounds[0] / 2, bounds[1] * 2)


def resample_lengths(found: Sequence[float], count: int, rng: np.random.Generator) -> Lengths:
    """Draw from measured lengths."""
    return rng.choice(np.array(found), count)


def archive_lengths(count: int, rng: np.random.Generator) -> Lengths:
    """Draw 70 % clips, 25 % calls, interviews and the longest recording, in the worst order."""
    clips, calls = int(0.7 * count), int(0.25 * count)
    parts = [log_normal(CLIPS, clips, rng), log_normal(CALLS, calls, rng)]
    parts.append(log_normal(INTERVIEWS, count - clips - calls - 1, rng))
    return np.concatenate([*parts, [LONGEST]])


def split_ranges(lengths: Lengths, longest: float) -> Lengths:
    """Return the lengths of equal ranges of at most `longest` seconds, in order."""
    ranges = np.ceil(lengths / longest).astype(int)
    return np.repeat(lengths / ranges, ranges)


def longest_first(lengths: Lengths, sizes: Lengths) -> Lengths:
    """Order recordings of given sizes as `cluster.work_queue.long_recordings_first` does."""
    return lengths[np.argsort(sizes <= LONG_RECORDING_FACTOR * sizes.mean(), kind="stable")]


def shard_lengths(lengths: Lengths, sizes: Lengths, count: int) -> list[Lengths]:
    """Return the recordings of each shard, balanced by size as in `jobs.shard`.

    Args:
        lengths: In seconds.
        sizes: In bytes, or ones if unknown.
        count: Number of shards.
    """
    import heapq

    loads = [(0.0, shard) for shard in range(count)]
    members: list[list[int]] = [[] for _ in range(count)]
    for place in np.argsort(-sizes, kind="stable").tolist():
        load, shard = loads[0]
        heapq.heapreplace(loads, (load + float(sizes[place]), shard))
        members[shard].append(place)
    return [lengths[sorted(each)] for each in members]
