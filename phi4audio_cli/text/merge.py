"""Merge the texts of overlapping chunks without losing or doubling a word. Pure.

Where speech has no pause, two chunks share some audio, and each may get the word at its edge
wrong. The words of the overlap are aligned by text and time; the first text is kept up to the pair
nearest to the middle of the overlap, the second from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from phi4audio_cli.text.words import normalize_word
from phi4audio_cli.types import Word

TIME_TOLERANCE_SECONDS = 1.0
"""Words up to this far outside the overlap may belong to it, as times are inexact, seconds."""

MATCH_SCORE = 0.3
"""Score of two equal words; small, or a chance match would outweigh the times."""
PARTIAL_MATCH_SCORE = 0.1
"""Score where one word is a prefix or suffix of the other: cut at a chunk's edge."""
MISMATCH_SCORE = -1.0
"""Score of two different words at the same position."""
GAP_SCORE = -1.0
"""Score of a word in only one text, at a time that both chunks cover."""
SCORE_PER_SECOND_APART = -1.0
"""Score per second between the starts of two words; it separates equal words."""

MIN_WORD_SECONDS = 0.01
"""Shortest length of a word after its times are corrected, seconds."""


def merge_words(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> tuple[list[Word], list[Word]]:
    """Drop the words that two overlapping chunks share from one of them.

    Args:
        left: Words of the first chunk, times in seconds of the recording, in order.
        right: Words of the second chunk.
        start: Start of the second chunk, seconds.
        stop: End of the first chunk, after `start`, seconds.

    Returns:
        The remaining words of each chunk: together the text, with ascending times.
    """
    first = sum(1 for word in left if word.end < start - TIME_TOLERANCE_SECONDS)
    last = sum(1 for word in right if word.start <= stop + TIME_TOLERANCE_SECONDS)
    keep, skip = _splice_point(left[first:], right[:last], start, stop)
    return _order_times(list(left[: first + keep]), list(right[skip:]))


def _splice_point(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> tuple[int, int]:
    """Return the number of words to keep of the left text and to skip of the right."""
    middle = (start + stop) / 2
    pairs = [(left[i], right[j], i, j) for i, j in align_words(left, right, start, stop)]
    same = [pair for pair in pairs if _normalized(pair[0]) == _normalized(pair[1])]
    alike = same or [
        pair for pair in pairs if _is_partial_match(_normalized(pair[0]), _normalized(pair[1]))
    ]
    if not alike:  # without a common word only the times decide
        keep = sum(1 for word in left if _centre(word) < middle)
        return keep, sum(1 for word in right if _centre(word) < middle)
    one, other, i, j = min(alike, key=lambda pair: abs(_centre(pair[0]) - middle))
    if len(_normalized(one)) < len(_normalized(other)):  # the left one was cut off
        return i, j
    return i + 1, j + 1


def align_words(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> list[tuple[int, int]]:
    """Align two texts by dynamic programming over the overlap, from `start` to `stop`.

    Outside the overlap a word in only one of the texts costs nothing.

    Returns:
        Pairs of indices into both texts, in order; pairs of different words included.
    """
    drop_left = [GAP_SCORE * (_centre(word) > start) for word in left]
    drop_right = [GAP_SCORE * (_centre(word) < stop) for word in right]
    # best[i][j]: highest score of i words of the left text and j of the right.
    best = [list(accumulate(drop_right, initial=0.0))]
    steps: list[list[tuple[int, int]]] = [[(0, 1)] * (len(right) + 1)]
    for i, word in enumerate(left):
        best.append([best[i][0] + drop_left[i]])
        steps.append([(1, 0)])
        for j, other in enumerate(right):
            total, step = max(
                (best[i][j] + _score(word, other), (1, 1)),
                (best[i][j + 1] + drop_left[i], (1, 0)),
                (best[i + 1][j] + drop_right[j], (0, 1)),
            )
            best[-1].append(total)
            steps[-1].append(step)
    return _backtrace(steps, len(left), len(right))


def _backtrace(steps: list[list[tuple[int, int]]], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    while i or j:
        step = steps[i][j]
        i, j = i - step[0], j - step[1]
        if step == (1, 1):
            pairs.append((i, j))
    return pairs[::-1]


def _score(left: Word, right: Word) -> float:
    apart = SCORE_PER_SECOND_APART * abs(left.start - right.start)
    one, other = _normalized(left), _normalized(right)
    if one == other:
        return MATCH_SCORE + apart
    return (PARTIAL_MATCH_SCORE if _is_partial_match(one, other) else MISMATCH_SCORE) + apart


def _is_partial_match(left: str, right: str) -> bool:
    """Whether one word may be the other one, cut off at a chunk's edge."""
    shortest = min(len(left), len(right))
    return shortest > 1 and (right.startswith(left) or left.endswith(right))


def _normalized(word: Word) -> str:
    return normalize_word(word.word)


def _centre(word: Word) -> float:
    return (word.start + word.end) / 2


def _order_times(left: list[Word], right: list[Word]) -> tuple[list[Word], list[Word]]:
    """Correct times so that the right words begin where the left words end."""
    if left and right and right[0].start < left[-1].end:
        edge = min(left[-1].end, max(left[-1].start + MIN_WORD_SECONDS, right[0].start))
        left[-1] = replace(left[-1], end=edge)
    edge = left[-1].end if left else 0.0
    for index, word in enumerate(right):
        if word.start >= edge:
            break
        right[index] = replace(word, start=edge, end=max(word.end, edge + MIN_WORD_SECONDS))
        edge = right[index].end
    return left, right
