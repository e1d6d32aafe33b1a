"""Words of a text: splitting, joining, normalizing, counting, interpolated times. Pure."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from phi4audio_cli.types import Word

UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "FULLWIDTH")
"""Unicode names of characters that are written without spaces between words begin so."""


def join_texts(texts: Iterable[str]) -> str:
    """Join texts with single spaces, and without any where the script has none."""
    joined = ""
    for text in (text.strip() for text in texts):
        if not text:
            continue
        joined += text if not joined or _both_unspaced(joined[-1], text[0]) else f" {text}"
    return joined


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script without spaces between words."""
    return unicodedata.name(char, "").startswith(UNSPACED_SCRIPTS)


def starts_word(before: str, char: str) -> bool:
    """Whether a character begins a new word after the text of another.

    A space begins the word it stands before; punctuation belongs to the word before it; each
    character of a script without spaces is a word.
    """
    last = before[-1]
    if char.isspace() or last.isspace():
        return char.isspace() and not last.isspace()
    if unicodedata.category(char).startswith("P"):
        return False
    return is_unspaced(char) or is_unspaced(last)


def _both_unspaced(left: str, right: str) -> bool:
    return is_unspaced(left) and is_unspaced(right)


Interval = tuple[float, float]
"""Start and end, in seconds."""


def split_words(text: str) -> list[str]:
    """Split a text into words that, joined, are the text.

    Each keeps the space before it; in scripts without spaces each character is a word.
    """
    words: list[str] = []
    for char in text.strip():
        if not words or starts_word(words[-1], char):
            words.append(char)
        else:
            words[-1] += char
    return words


def interpolate_times(text: str, speech: Sequence[Interval]) -> tuple[Word, ...]:
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
        Word(word, _start_time(left, speech, ends), _end_time(right, speech, ends))
        for word, left, right in zip(words, edges, edges[1:], strict=False)
    )


def _start_time(position: float, speech: Sequence[Interval], ends: Sequence[float]) -> float:
    """When a place in the speech put end to end begins: after a pause, not before it."""
    index = min(bisect_right(ends, position), len(speech) - 1)
    return speech[index][1] - (ends[index] - position)


def _end_time(position: float, speech: Sequence[Interval], ends: Sequence[float]) -> float:
    """When it ends: before a pause, not after it."""
    index = min(bisect_left(ends, position), len(speech) - 1)
    return speech[index][1] - (ends[index] - position)


MAX_WORD_LENGTH = 24
"""Characters; what is longer is no word, and its characters are compared."""


def normalize_word(word: str) -> str:
    """Return what counts of a word: neither case nor punctuation, unless it is all it has."""
    text = unicodedata.normalize("NFKC", word).casefold().strip()
    letters = "".join(char for char in text if unicodedata.category(char)[0] not in "PZ")
    return letters or text


def normalized_words(text: str) -> list[str]:
    """Return the words of a text as they are compared, those of punctuation alone left out.

    In scripts without spaces, and in runs of letters too long for a word, each character is one.
    """
    found: list[str] = []
    for word in split_words(text):
        letters = normalize_word(word)
        if any(char.isalnum() for char in letters):
            found += list(letters) if len(letters) > MAX_WORD_LENGTH else [letters]
    return found


def count_words(text: str) -> float:
    """Return the number of words; two characters of a script without spaces count as one."""
    words = (normalize_word(word) for word in split_words(text))
    return sum(0.5 if is_unspaced(word[0]) else 1.0 for word in words if _has_alphanumeric(word))


def words_per_second(text: str, seconds: float) -> float | None:
    """Return how fast a text was said; None where no time is known."""
    return count_words(text) / seconds if seconds > 0 else None


def dice_similarity(one: str, other: str) -> float:
    """Return the share of words that two texts have in common, each as often as it is said.

    Returns:
        Twice the common words over all words of both: 1 for the same words, 0 for no common one.
    """
    left, right = Counter(normalized_words(one)), Counter(normalized_words(other))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def _has_alphanumeric(word: str) -> bool:
    return any(char.isalnum() for char in word)
