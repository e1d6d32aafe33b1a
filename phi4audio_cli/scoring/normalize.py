"""The normaliser: what doesn't count as an error in a normalised rate.

It is small on purpose, so that a rate can be understood and made again: no spelling variants, no
numbers as words, no filler words. Rates of others (Whisper's normaliser, for example) are lower.
"""

from __future__ import annotations

import unicodedata

NORMALIZER = "phi4audio-basic 1"
"""Name and version; the version goes up with every change of what `normalize` returns."""

RULES = "Unicode NFKC, lower case, no punctuation or symbols, single spaces"

JOINERS = frozenset("'’ʼ")
"""Apostrophes join: don't is one word, as "dont"; all else that is dropped divides."""


def normalize(text: str) -> str:
    """Return a text by the rules above."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(map(_kept, folded)).split())


def _kept(char: str) -> str:
    if char in JOINERS:
        return ""
    return " " if unicodedata.category(char)[0] in "PSZC" else char
