"""Words as they are compared: without case, accents of width or punctuation. Pure."""

from __future__ import annotations

import unicodedata
from collections import Counter

from phi4audio_cli.text.spread import split_words
from phi4audio_cli.text.stitch import is_unspaced

LONGEST_WORD = 24
"""Characters; what is longer is no word, and its characters are compared."""


def bare(word: str) -> str:
    """Return what counts of a word: neither case nor punctuation, unless it is all it has."""
    text = unicodedata.normalize("NFKC", word).casefold().strip()
    letters = "".join(char for char in text if unicodedata.category(char)[0] not in "PZ")
    return letters or text


def units(text: str) -> list[str]:
    """Return the words of a text as they are compared, those of punctuation alone left out.

    In scripts without spaces, and in runs of letters too long for a word, each character is one.
    """
    found: list[str] = []
    for word in split_words(text):
        letters = bare(word)
        if any(char.isalnum() for char in letters):
            found += list(letters) if len(letters) > LONGEST_WORD else [letters]
    return found


def word_count(text: str) -> float:
    """Return the number of words; two characters of a script without spaces count as one."""
    words = (bare(word) for word in split_words(text))
    return sum(0.5 if is_unspaced(word[0]) else 1.0 for word in words if _says_something(word))


def words_per_second(text: str, seconds: float) -> float | None:
    """Return how fast a text was said; None where no time is known."""
    return word_count(text) / seconds if seconds > 0 else None


def agreement(one: str, other: str) -> float:
    """Return the share of words that two texts have in common, each as often as it is said.

    Returns:
        Twice the common words over all words of both: 1 for the same words, 0 for no common one.
    """
    left, right = Counter(units(one)), Counter(units(other))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def _says_something(word: str) -> bool:
    return any(char.isalnum() for char in word)
