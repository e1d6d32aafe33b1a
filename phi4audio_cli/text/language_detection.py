"""Language detection of a text, and the scripts of the languages."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from phi4audio_cli.errors import FileError
from phi4audio_cli.languages import AUDIO_LANGUAGES, LANGUAGES

MIN_PROBABILITY = 0.5
"""Lowest probability, among the model's languages, of a language that is returned."""


def detect_language(text: str) -> str | None:
    """Return the English name of the text's language, one of the spoken ones; None if unsure.

    Raises:
        FileError: A temporary file, which the detector is unpacked into, cannot be written.
    """
    if not text.strip():
        return None
    code, probability = _identifier().classify(text)
    by_code = {language.code: language.name for language in LANGUAGES}
    return by_code[str(code)] if probability >= MIN_PROBABILITY else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    try:
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    except OSError as error:
        raise FileError(
            "its language can't be detected, for no temporary file can be written: "
            f"{error.strerror or error}",
            remedy=f"make room in {tempfile.gettempdir()}, set TMPDIR to a folder that has it, "
            "or give --language",
        ) from error
    identifier.set_languages([language.code for language in LANGUAGES if language.audio])
    return identifier


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
"""Scripts by the language's English name, as first words of Unicode names; others are Latin."""

AUDIO_SCRIPTS = frozenset(
    script for each in AUDIO_LANGUAGES for script in SCRIPTS.get(each.name, LATIN)
)
"""Scripts of all spoken languages of the model."""

MIN_LETTERS = 4
"""Fewest letters that prove a script; shorter texts may be names or abbreviations."""

MAX_FOREIGN_SHARE = 0.5
"""Largest share of letters of other scripts, as in foreign names and terms."""


def scripts_of(language: str | None) -> frozenset[str]:
    """Return the scripts of a language; those of all spoken languages if it is unknown."""
    return AUDIO_SCRIPTS if language is None else SCRIPTS.get(language, LATIN)


def is_wrong_script(text: str, language: str | None) -> bool:
    """Whether most letters of a text belong to a script that the language does not use."""
    return (
        len(_letters(text)) >= MIN_LETTERS
        and foreign_share(text, scripts_of(language)) > MAX_FOREIGN_SHARE
    )


def foreign_share(text: str, scripts: Collection[str]) -> float:
    """Return the share of a text's letters outside the given scripts."""
    letters = _letters(text)
    foreign = sum(_script(char) not in scripts for char in letters)
    return foreign / len(letters) if letters else 0.0


def _letters(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text)  # maps full-width letters to Latin
    return "".join(char for char in normal if char.isalpha())


def _script(letter: str) -> str:
    """Return a letter's script: the first word of its Unicode name."""
    first = unicodedata.name(letter, "UNKNOWN").replace("-", " ").split()[0]
    return "CJK" if first == "IDEOGRAPHIC" else first
