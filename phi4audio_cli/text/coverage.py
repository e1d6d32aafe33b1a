"""Speech that no text covers: interval arithmetic in seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from phi4audio_cli.text.words import Interval

MAX_FILLED_GAP_SECONDS = 2.0
"""Speech between two words up to this long is taken to hold no further word, seconds."""


def merge_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """Sort intervals, and merge those that touch or overlap."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def total_length(intervals: Iterable[Interval]) -> float:
    """Return the length of the union of intervals, seconds."""
    return sum(end - start for start, end in merge_intervals(intervals))


def fill_gaps(words: Iterable[Interval], speech: Sequence[Interval]) -> list[Interval]:
    """Return the intervals that the words of an answer cover, short gaps in speech included.

    A gap with little speech counts as covered: between two words, before the first and after the
    last. Without words nothing is covered.

    Args:
        words: Times of the words, seconds.
        speech: Speech intervals of the same audio, in order.
    """
    found = merge_intervals(words)
    if not found or not speech:
        return found
    first, last = speech[0][0], speech[-1][1]
    gaps = [(first, found[0][0]), *((a[1], b[0]) for a, b in pairwise(found)), (found[-1][1], last)]
    return merge_intervals([*found, *(gap for gap in gaps if _is_fillable(gap, speech))])


def _is_fillable(gap: Interval, speech: Sequence[Interval]) -> bool:
    start, end = gap
    if start >= end:
        return False
    return sum(max(0.0, min(end, b) - max(start, a)) for a, b in speech) <= MAX_FILLED_GAP_SECONDS


def uncovered_seconds(speech: Iterable[Interval], covered: Iterable[Interval]) -> float:
    """Return the seconds of speech outside the covered intervals."""
    known = list(covered)
    return max(0.0, total_length([*speech, *known]) - total_length(known))
