"""Word times without alignment: words laid over the speech by their length."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from phi4audio_cli.text.stitch import begins_word
from phi4audio_cli.types import Word

Stretch = tuple[float, float]
"""Start and end, in seconds."""


def split_words(text: str) -> list[str]:
    """Split a text into words that, joined, are the text.

    Each keeps the space before it; in scripts without spaces each character is a word.
    """
    words: list[str] = []
    for char in text.strip():
        if not words or begins_word(words[-1], char):
            words.append(char)
        else:
            words[-1] += char
    return words


def spread(text: str, speech: Sequence[Stretch]) -> tuple[Word, ...]:
    """Give each word a share of the speech by its number of letters.

    Args:
        text: What was said in all of `speech`.
        speech: Stretches in order, without overlap, at least one, each longer than nothing.

    Returns:
        Words in order, without overlap, each within the first and last stretch.
    """
    words = split_words(text)
    if not words:
        return ()
    lengths = [stop - start for start, stop in speech]
    ends = list(accumulate(lengths))
    shares = list(accumulate((len(word.strip()) + 1 for word in words), initial=0))
    edges = [share / shares[-1] * ends[-1] for share in shares]
    return tuple(
        Word(word, _begin(left, speech, ends), _end(right, speech, ends))
        for word, left, right in zip(words, edges, edges[1:], strict=False)
    )


def _begin(place: float, speech: Sequence[Stretch], ends: Sequence[float]) -> float:
    """When a place in the speech put end to end begins: after a pause, not before it."""
    index = min(bisect_right(ends, place), len(speech) - 1)
    return speech[index][1] - (ends[index] - place)


def _end(place: float, speech: Sequence[Stretch], ends: Sequence[float]) -> float:
    """When it ends: before a pause, not after it."""
    index = min(bisect_left(ends, place), len(speech) - 1)
    return speech[index][1] - (ends[index] - place)
