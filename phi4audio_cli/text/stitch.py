"""Putting the texts of neighbouring chunks together."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "FULLWIDTH")
"""Unicode names of characters that are written without spaces between words begin so."""


def join(texts: Iterable[str]) -> str:
    """Join texts with single spaces, and without any where the script has none."""
    joined = ""
    for text in (text.strip() for text in texts):
        if not text:
            continue
        joined += text if not joined or _both_unspaced(joined[-1], text[0]) else f" {text}"
    return joined


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script without spaces between words."""
    return unicodedata.name(char, "").startswith(UNSPACED)


def begins_word(before: str, char: str) -> bool:
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
