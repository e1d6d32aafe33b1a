"""Words of a text: splitting, joining, normalizing, counting, interpolated times. Pure."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from phi4audio_cli.text.character_classes import (
    AMBIGUOUS_QUOTES,
    is_opening,
    is_thai,
    is_unspaced,
    is_wide_punctuation,
    keeps_together,
)
from phi4audio_cli.text.graphemes import split_graphemes
from phi4audio_cli.types import Word

CLOSING_PUNCTUATION = frozenset(",.;:!?%)]}»”’…、。，！？：；）】」』")
"""Characters without a space before them."""


def join_texts(texts: Iterable[str]) -> str:
    """Join texts with single spaces, or without where both sides are of an unspaced script."""
    joined = ""
    for text in (text.strip() for text in texts):
        if not text:
            continue
        joined += text if not joined or _are_unspaced(joined, text) else f" {text}"
    return joined


def joins_without_space(left: str, right: str) -> bool:
    """Whether two texts join without a space: unspaced scripts, brackets, closing punctuation."""
    if unicodedata.category(left[-1]) == "Ps" or right[0] in CLOSING_PUNCTUATION:
        return True
    return _are_unspaced(left, right)


def _are_unspaced(left: str, right: str) -> bool:
    """Whether two texts meet in an unspaced script, or at full-width punctuation."""
    if is_wide_punctuation(left[-1]) or is_wide_punctuation(right[0]):
        return True
    before, after = left.rstrip(AMBIGUOUS_QUOTES)[-1:], right.lstrip(AMBIGUOUS_QUOTES)[:1]
    return bool(before and after) and is_unspaced(before) and is_unspaced(after)


def starts_word(before: str, char: str) -> bool:
    """Whether a character begins a new word after a text.

    A space belongs to the word after it, an opening bracket in an unspaced script as well, other
    punctuation to the word before it; in unspaced scripts each character (UAX 29) is a word.
    """
    last = before[-1]
    if char.isspace() or last.isspace():
        return char.isspace() and not last.isspace()
    if not (is_unspaced(char) or is_unspaced(last)) or _continues_word(before, char):
        return False
    return is_opening(char) or not unicodedata.category(char).startswith("P")


def _continues_word(before: str, char: str) -> bool:
    """Whether a character belongs to the character or the opening bracket before it."""
    if is_opening(before[-1]) or (is_thai(char) and keeps_together(before[-1], char)):
        return True
    return len(split_graphemes(before[-1] + char)) == 1


Interval = tuple[float, float]
"""Start and end, in seconds."""


def split_words(text: str) -> list[str]:
    """Split a text into words whose concatenation is the text.

    A word keeps the space before it; in unspaced scripts each character is a word.
    """
    words: list[str] = []
    for char in text.strip():
        if not words or starts_word(words[-1], char):
            words.append(char)
        else:
            words[-1] += char
    return words


def interpolate_times(text: str, speech: Sequence[Interval]) -> tuple[Word, ...]:
    """Interpolate word times: each word gets speech in proportion to its number of letters.

    Args:
        text: Text spoken in all of `speech`.
        speech: Intervals in order, without overlap; at least one, none empty.

    Returns:
        Words in order, without overlap, within the first and the last interval.
    """
    words = split_words(text)
    if not words:
        return ()
    lengths = [stop - start for start, stop in speech]
    ends = list(accumulate(lengths))
    shares = list(accumulate((len(word.strip()) + 1 for word in words), initial=0))
    edges = [share / shares[-1] * ends[-1] for share in shares]
    return tuple(
        Word(word, _start_time(left, speech, ends), _end_time(right, speech, ends))
        for word, left, right in zip(words, edges, edges[1:], strict=False)
    )


def _start_time(position: float, speech: Sequence[Interval], ends: Sequence[float]) -> float:
    """Map a position in concatenated speech to a start time: after a pause, not before it."""
    index = min(bisect_right(ends, position), len(speech) - 1)
    return speech[index][1] - (ends[index] - position)


def _end_time(position: float, speech: Sequence[Interval], ends: Sequence[float]) -> float:
    """Map a position in concatenated speech to an end time: before a pause, not after it."""
    index = min(bisect_left(ends, position), len(speech) - 1)
    return speech[index][1] - (ends[index] - position)


MAX_WORD_LENGTH = 24
"""Longest word, characters; of a longer run each character is compared as a word."""


def normalize_word(word: str) -> str:
    """Return a word without case and punctuation; punctuation alone stays."""
    text = unicodedata.normalize("NFKC", word).casefold().strip()
    letters = "".join(char for char in text if unicodedata.category(char)[0] not in "PZ")
    return letters or text


def normalized_words(text: str) -> list[str]:
    """Return the normalized words of a text, without words of punctuation alone.

    In unspaced scripts, and in runs of letters too long for a word, each character is a word.
    """
    found: list[str] = []
    for word in split_words(text):
        letters = normalize_word(word)
        if not _has_alphanumeric(letters):
            continue
        if is_unspaced(letters[0]):
            found += filter(str.isalnum, letters)
        else:
            found += list(letters) if len(letters) > MAX_WORD_LENGTH else [letters]
    return found


def count_words(text: str) -> float:
    """Return the number of words; two characters of an unspaced script count as one word."""
    words = (normalize_word(word) for word in split_words(text))
    return sum(
        0.5 * sum(map(str.isalnum, word)) if is_unspaced(word[0]) else 1.0
        for word in words
        if _has_alphanumeric(word)
    )


def words_per_second(text: str, seconds: float) -> float | None:
    """Return the speaking rate; None without a positive length."""
    return count_words(text) / seconds if seconds > 0 else None


def dice_similarity(one: str, other: str) -> float:
    """Return the Sørensen-Dice similarity of two texts over their word counts.

    Returns:
        Twice the common words over all words of both: 1 for the same words, 0 without a common
        word.
    """
    left, right = Counter(normalized_words(one)), Counter(normalized_words(other))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def _has_alphanumeric(word: str) -> bool:
    return any(char.isalnum() for char in word)
