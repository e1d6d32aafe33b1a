"""Whether a text is written in the letters of its language. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping

from phi4audio_cli.languages import AUDIO_LANGUAGES

LATIN = frozenset({"LATIN"})

SCRIPTS: Mapping[str, frozenset[str]] = {
    "Arabic": frozenset({"ARABIC"}),
    "Chinese": frozenset({"CJK"}),
    "Hebrew": frozenset({"HEBREW"}),
    "Japanese": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "Korean": frozenset({"HANGUL", "CJK"}),
    "Russian": frozenset({"CYRILLIC"}),
    "Thai": frozenset({"THAI"}),
    "Ukrainian": frozenset({"CYRILLIC"}),
}
"""By the language's English name, as Unicode names of letters begin; others are Latin."""

HEARD_SCRIPTS = frozenset(
    script for each in AUDIO_LANGUAGES for script in SCRIPTS.get(each.name, LATIN)
)
"""Those of all languages the model hears."""

FEWEST_LETTERS = 4
"""A text of fewer letters is a name or an abbreviation, and proves nothing."""

MOST_FOREIGN = 0.5
"""Share of letters of other scripts: foreign names and terms are no other language."""


def scripts_of(language: str | None) -> frozenset[str]:
    """Return the scripts a language is written in; those of all heard ones where it isn't known."""
    return HEARD_SCRIPTS if language is None else SCRIPTS.get(language, LATIN)


def is_other_script(text: str, language: str | None) -> bool:
    """Whether most letters of a text belong to no script of the language."""
    return (
        len(_letters(text)) >= FEWEST_LETTERS
        and foreign_share(text, scripts_of(language)) > MOST_FOREIGN
    )


def foreign_share(text: str, scripts: Collection[str]) -> float:
    """Return the share of a text's letters that belong to none of the scripts."""
    letters = _letters(text)
    foreign = sum(_script(char) not in scripts for char in letters)
    return foreign / len(letters) if letters else 0.0


def _letters(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text)  # full-width letters are Latin, too
    return "".join(char for char in normal if char.isalpha())


def _script(letter: str) -> str:
    """Return the first part of a letter's name, which is its script's."""
    first = unicodedata.name(letter, "UNKNOWN").replace("-", " ").split()[0]
    return "CJK" if first == "IDEOGRAPHIC" else first
