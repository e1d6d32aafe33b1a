"""How much of a text only repeats what is right before it. Pure.

Text alone can't tell a model that is caught in a loop from a speaker who repeats: see
`tasks.doubts` for the evidence that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from phi4audio_cli.text.units import units

LONGEST_PERIOD = 50
"""Words; nothing longer is looked for again."""

REPEATED_WORDS = 10
"""So many words in a row that only repeat, or more, are worth a second look."""

REPEATED_TIMES = 3
"""So often the same must be said, once after the other."""


def repetition(text: str) -> float:
    """Return the share of a text that repeats the words right before it, whole times.

    Returns:
        From 0 (nothing is said twice in a row) to 1: 0.9 for one word said ten times, 0.5 for a
        sentence said twice; ordinary speech stays below 0.2.
    """
    words = units(text)
    again = [False] * len(words)
    for _, first, stop in _runs(words):
        again[first:stop] = [True] * (stop - first)
    return sum(again) / len(words) if words else 0.0


def is_repetitive(text: str) -> bool:
    """Whether a long stretch of a text says the same words again and again."""
    return any(
        stop - first >= max(REPEATED_WORDS, (REPEATED_TIMES - 1) * period)
        for period, first, stop in _runs(units(text))
    )


def _runs(words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield stretches whose words are those one period before, at least one period long.

    Yields:
        The period in words, the first word said again, and the one after the last.
    """
    for period in range(1, min(LONGEST_PERIOD, len(words) // 2) + 1):
        first = period
        for place in range(period, len(words) + 1):
            if place < len(words) and words[place] == words[place - period]:
                continue
            if place - first >= period:
                yield period, first, place
            first = place + 1
