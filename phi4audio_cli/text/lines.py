"""A cue's words on its lines: as many as needed, and balanced. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from phi4audio_cli.text.breaks import LETTER, Break, break_after, width
from phi4audio_cli.text.stitch import begins_word

BREAK_COST = {
    Break.SENTENCE: 0.0,
    Break.CLAUSE: 2.0,
    Break.PHRASE: 4.0,
    Break.WORD: 6.0,
    Break.LEANING: 14.0,
}
"""Of a line that ends so, in letters of imbalance."""


def break_lines(words: Sequence[str], limit: int) -> list[int]:
    """Divide words over as few lines as hold them, of like length and ending well.

    Args:
        words: With the spaces before them; none wider than a line.
        limit: Width of a line, see `breaks.width`.

    Returns:
        The number of words on each line.
    """
    widths = [width(word) for word in words]
    bare = [width(word.strip()) for word in words]
    total = bare[0] + sum(widths[1:])
    if total <= limit:
        return [len(words)]
    for count in range(2, len(words) + 1):
        if counts := _divide(words, widths, bare, limit, count):
            return counts
    return [1] * len(words)


def _divide(
    words: Sequence[str], widths: Sequence[int], bare: Sequence[int], limit: int, count: int
) -> list[int]:
    """Return the best division over `count` lines; empty when they don't hold the words."""
    ideal = (bare[0] + sum(widths[1:])) / count
    # best[stop]: cost of the lines so far when they hold `stop` words, and their word counts.
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for _ in range(count):
        longer: dict[int, tuple[float, list[int]]] = {}
        for first, (cost, counts) in best.items():
            filled = 0
            for stop in range(first + 1, len(words) + 1):
                filled += widths[stop - 1] if filled else bare[stop - 1]
                if filled > limit:
                    break
                new = cost + _line_cost(words, stop, (filled - ideal) / LETTER)
                if new < longer.get(stop, (math.inf, []))[0]:
                    longer[stop] = new, [*counts, stop - first]
        best = longer
    return best.get(len(words), (0.0, []))[1]


def _line_cost(words: Sequence[str], stop: int, imbalance: float) -> float:
    if stop == len(words):
        return imbalance**2 / 8
    return imbalance**2 / 8 + BREAK_COST[break_after(words[stop - 1], words[stop])]


def wrap(text: str, limit: int) -> list[str]:
    """Break a text into lines, each filled as far as it goes.

    Words that are wider than a line are broken between characters.

    Args:
        text: Spaces at its ends and double ones are dropped.
        limit: Width of a line, see `breaks.width`.
    """
    lines: list[str] = []
    line = ""
    for word in _words(" ".join(text.split())):
        if line and width(line + word) > limit:
            lines.append(line)
            line = ""
        line += word if line else word.lstrip()
        while width(line) > limit and (cut := _fitting(line, limit)) < len(line):
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line] if line else lines


def _words(text: str) -> list[str]:
    words: list[str] = []
    for char in text:
        if not words or begins_word(words[-1], char):
            words.append(char)
        else:
            words[-1] += char
    return words


def _fitting(text: str, limit: int) -> int:
    """Return how many characters fit a line, at least one; marks stay with their letter."""
    count = 1
    while count < len(text) and width(text[: count + 1]) <= limit:
        count += 1
    while count < len(text) and width(text[count]) == 0:
        count += 1
    return count
