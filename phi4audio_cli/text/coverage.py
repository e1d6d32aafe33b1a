"""Speech that no text covers. Pure: stretches of time in, seconds out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phi4audio_cli.text.spread import Stretch

BRIDGED_SECONDS = 2.0
"""A gap between words up to this long has no word in it that is missing."""


def merged(stretches: Iterable[Stretch], bridge: float = 0.0) -> list[Stretch]:
    """Put stretches in order; those that overlap, or are no more than `bridge` apart, are one."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start - found[-1][1] <= bridge:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def length(stretches: Iterable[Stretch]) -> float:
    """Return how long stretches are together; what they share counts once."""
    return sum(end - start for start, end in merged(stretches))


def bridged(words: Iterable[Stretch], speech: Sequence[Stretch]) -> list[Stretch]:
    """Return what words cover of the speech they were found in.

    Short gaps count as covered: between words, and between them and where the speech begins or
    ends. Without words nothing is covered.

    Args:
        words: Times of the words, seconds.
        speech: Where the same stretch of audio has speech, in order.
    """
    found = list(words)
    if not found or not speech:
        return found
    edges = [(speech[0][0],) * 2, (speech[-1][1],) * 2]
    return merged([*found, *edges], BRIDGED_SECONDS)


def uncovered_seconds(speech: Iterable[Stretch], covered: Iterable[Stretch]) -> float:
    """Return how many seconds of the speech lie outside of what is covered."""
    told = list(covered)
    return max(0.0, length([*speech, *told]) - length(told))
