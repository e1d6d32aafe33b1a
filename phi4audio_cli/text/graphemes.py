"""Characters as a reader sees them (UAX 29 grapheme clusters) and their display widths. Pure."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import east_asian_width

LETTER_WIDTH = 16
"""Display width of a Latin letter."""

FULL_WIDTH_LETTER_WIDTH = 42
"""Display width of a full-width character."""


def split_graphemes(text: str) -> list[str]:
    """Split a text into grapheme clusters: emoji, flags, letters with their marks stay whole."""
    if text.isascii():
        return list(text)
    import wcwidth  # only texts beyond ASCII need its tables

    return list(wcwidth.iter_graphemes(text))


def display_width(text: str) -> int:
    """Return the width of a text on the screen, in sixteenths of a Latin letter.

    A full-width character (East Asian width, emoji) is 42/16 letters wide: a line holds 42 letters
    or 16 of them. Widths of texts cut at grapheme clusters add up.
    """
    if text.isascii():
        return LETTER_WIDTH * len(text)
    return sum(map(_grapheme_width, split_graphemes(text)))


@lru_cache(maxsize=16384)
def _grapheme_width(grapheme: str) -> int:
    import wcwidth

    cells = wcwidth.wcswidth(grapheme)
    if cells < 0:  # a control character
        cells = 1
    if cells < 2 or (grapheme[0].isalpha() and east_asian_width(grapheme[0]) not in "WF"):
        return LETTER_WIDTH * cells  # two cells of a Thai or Indic cluster are two letters
    return FULL_WIDTH_LETTER_WIDTH
