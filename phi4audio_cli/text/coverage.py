"""Speech that no text covers. Pure: stretches of time in, seconds out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from phi4audio_cli.text.spread import Stretch

BRIDGED_SECONDS = 2.0
"""Speech between two words up to this long has no word in it that is missing."""


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Put stretches in order; those that touch or overlap are one."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def length(stretches: Iterable[Stretch]) -> float:
    """Return how long stretches are together; what they share counts once."""
    return sum(end - start for start, end in merged(stretches))


def bridged(words: Iterable[Stretch], speech: Sequence[Stretch]) -> list[Stretch]:
    """Return what words cover of the speech they were found in.

    Little speech between two words counts as covered, and so it does before the first and after
    the last. Without words nothing is covered.

    Args:
        words: Times of the words, seconds.
        speech: Where the same stretch of audio has speech, in order.
    """
    found = merged(words)
    if not found or not speech:
        return found
    first, last = speech[0][0], speech[-1][1]
    gaps = [(first, found[0][0]), *((a[1], b[0]) for a, b in pairwise(found)), (found[-1][1], last)]
    return merged([*found, *(gap for gap in gaps if _is_bridged(gap, speech))])


def _is_bridged(gap: Stretch, speech: Sequence[Stretch]) -> bool:
    start, end = gap
    if start >= end:
        return False
    return sum(max(0.0, min(end, b) - max(start, a)) for a, b in speech) <= BRIDGED_SECONDS


def uncovered_seconds(speech: Iterable[Stretch], covered: Iterable[Stretch]) -> float:
    """Return how many seconds of the speech lie outside of what is covered."""
    told = list(covered)
    return max(0.0, length([*speech, *told]) - length(told))
