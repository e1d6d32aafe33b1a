"""Merge the texts of chunks that overlap, with no word lost or doubled. Pure.

Where nobody pauses, two chunks hear the same stretch, and each may mishear the word at its edge.
The words of the stretch are aligned by what they are and when they were said; the first text goes
up to the pair nearest to the middle, the second goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from phi4audio_cli.text.words import normalize_word
from phi4audio_cli.types import Word

TIME_TOLERANCE_SECONDS = 1.0
"""Words this far outside the overlap may be in it: times are not exact."""

MATCH_SCORE = 0.3
"""Score of two words that are the same; small, or chance would outweigh the times."""
PARTIAL_MATCH_SCORE = 0.1
"""Score where one is the beginning or the end of the other: cut at a chunk's edge."""
MISMATCH_SCORE = -1.0
"""Score of two words that differ, heard at the same place."""
GAP_SCORE = -1.0
"""Score of a word that only one text has, though both chunks heard its time."""
SCORE_PER_SECOND_APART = -1.0
"""Added for each second between the starts of two words; it tells equal words apart."""

MIN_WORD_SECONDS = 0.01
"""Seconds a word keeps when its neighbour takes its time."""


def merge_words(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> tuple[list[Word], list[Word]]:
    """Drop from two texts what they say twice.

    Args:
        left: Words of the first chunk, times in seconds of the recording, in order.
        right: Words of the second.
        start: Where the second chunk starts, seconds.
        stop: Where the first stops; after `start`.

    Returns:
        The words that are left of each: together, the text. Times go on from one to the other.
    """
    first = sum(1 for word in left if word.end < start - TIME_TOLERANCE_SECONDS)
    last = sum(1 for word in right if word.start <= stop + TIME_TOLERANCE_SECONDS)
    keep, skip = _splice_point(left[first:], right[:last], start, stop)
    return _order_times(list(left[: first + keep]), list(right[skip:]))


def _splice_point(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> tuple[int, int]:
    """Return how many words of the left text are kept, and of the right one skipped."""
    middle = (start + stop) / 2
    pairs = [(left[i], right[j], i, j) for i, j in align_words(left, right, start, stop)]
    same = [pair for pair in pairs if _normalized(pair[0]) == _normalized(pair[1])]
    alike = same or [
        pair for pair in pairs if _is_partial_match(_normalized(pair[0]), _normalized(pair[1]))
    ]
    if not alike:  # they agree in nothing: only the times are left to go by
        keep = sum(1 for word in left if _centre(word) < middle)
        return keep, sum(1 for word in right if _centre(word) < middle)
    one, other, i, j = min(alike, key=lambda pair: abs(_centre(pair[0]) - middle))
    if len(_normalized(one)) < len(_normalized(other)):  # the left one was cut off
        return i, j
    return i + 1, j + 1


def align_words(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> list[tuple[int, int]]:
    """Align two texts where both chunks heard the same, between `start` and `should_stop`.

    A word of one that the other lacks costs nothing outside of these.

    Returns:
        Places of words in both, in order; those of words that differ too.
    """
    drop_left = [GAP_SCORE * (_centre(word) > start) for word in left]
    drop_right = [GAP_SCORE * (_centre(word) < stop) for word in right]
    # best[i][j]: the most that i words of the left and j of the right reach.
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
    """Whether a chunk's edge may have cut one word, so that it became the other."""
    shortest = min(len(left), len(right))
    return shortest > 1 and (right.startswith(left) or left.endswith(right))


def _normalized(word: Word) -> str:
    return normalize_word(word.word)


def _centre(word: Word) -> float:
    return (word.start + word.end) / 2


def _order_times(left: list[Word], right: list[Word]) -> tuple[list[Word], list[Word]]:
    """Make the right words' times go on where the left ones end."""
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
