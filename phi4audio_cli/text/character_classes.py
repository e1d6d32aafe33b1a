"""Classes of characters for line breaks: unspaced scripts, brackets, kinsoku, Thai. Pure.

The rules for Chinese and Japanese are those of JIS X 4051 and UAX 14: an opening bracket does not
end a line; small kana, the long vowel mark, iteration marks and closing punctuation do not begin
one.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

UNSPACED_SCRIPTS = (
    "CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "IDEOGRAPHIC", "THAI", "FULLWIDTH",
)  # fmt: skip
"""Beginnings of the Unicode names of characters written without spaces between words."""

NO_BREAK_SPACES = frozenset("\u00a0\u202f\u2007")
"""White space at which no line breaks."""

AMBIGUOUS_QUOTES = "\"'“”‘’"
"""Quotation marks that texts with and without spaces use; most of them both open and close."""

NEVER_FIRST = frozenset(
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿｧｨｩｪｫｬｭｮｯ"
    "ーｰ々〻ゝゞヽヾ゛゜〜～…‥"
    "、。，．・：；！？｡､･‼⁇⁈⁉％‰℃°"
    ",.:;!?%"
    "ะาำๅๆฯ"
)
"""Characters that do not begin a line, with all closing brackets and quotation marks."""

NEVER_LAST = frozenset("เแโใไ¿¡$£¥€￥＄￡#＃№")
"""Characters that do not end a line, with all opening brackets and quotation marks."""

INSEPARABLE = frozenset("—―─")
"""Characters that are not separated from the same character."""

SPACED_PUNCTUATION = frozenset("!?:;%…")
"""Punctuation that French sets off with a space; it does not begin a line, either."""


@lru_cache(maxsize=4096)
def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script without spaces between words."""
    if char.isspace():
        return False
    name = unicodedata.name(char, "")
    return name.startswith(UNSPACED_SCRIPTS) or (
        unicodedata.east_asian_width(char) in "WF"
        and unicodedata.category(char)[0] in "LNP"
        and not name.startswith("HANGUL")
    )


def is_thai(char: str) -> bool:
    """Whether a character belongs to the Thai block."""
    return "\u0e00" <= char <= "\u0e7f"


def is_opening(char: str) -> bool:
    """Whether a character is an opening bracket or quotation mark."""
    return unicodedata.category(char) in ("Ps", "Pi")


def is_closing(char: str) -> bool:
    """Whether a character is a closing bracket or quotation mark."""
    return unicodedata.category(char) in ("Pe", "Pf")


def is_wide_punctuation(char: str) -> bool:
    """Whether a character is full-width punctuation, which contains its own white space."""
    wide = unicodedata.east_asian_width(char) in "WF"
    return wide and unicodedata.category(char).startswith("P")


@lru_cache(maxsize=16384)
def keeps_together(left: str, right: str) -> bool:
    """Whether no line breaks between two neighbouring characters without a space."""
    if left in NEVER_LAST or is_opening(left) or left in "\"'":
        return True
    if right in NEVER_FIRST or is_closing(right) or right in "\"'":
        return True
    return left == right and left in INSEPARABLE
