"""The languages of the model, and their lookup by any of their names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass

from phi4audio_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Language:
    """A language of the model."""

    name: str
    """English name, as used in prompts."""
    native: str
    code: str
    """ISO 639-1."""
    audio: bool = False
    """Whether the model was trained to understand it spoken, not only to write it."""
    aliases: tuple[str, ...] = ()


LANGUAGES: tuple[Language, ...] = (
    Language("Arabic", "العربية", "ar"),
    Language("Chinese", "中文", "zh", audio=True, aliases=("Mandarin", "汉语", "漢語", "cmn")),
    Language("Czech", "čeština", "cs"),
    Language("Danish", "dansk", "da"),
    Language("Dutch", "Nederlands", "nl"),
    Language("English", "English", "en", audio=True),
    Language("Finnish", "suomi", "fi"),
    Language("French", "français", "fr", audio=True),
    Language("German", "Deutsch", "de", audio=True),
    Language("Hebrew", "עברית", "he", aliases=("iw",)),
    Language("Hungarian", "magyar", "hu"),
    Language("Italian", "italiano", "it", audio=True),
    Language("Japanese", "日本語", "ja", audio=True),
    Language("Korean", "한국어", "ko"),
    Language("Norwegian", "norsk", "no", aliases=("nb", "nn", "bokmål", "nynorsk")),
    Language("Polish", "polski", "pl"),
    Language("Portuguese", "português", "pt", audio=True),
    Language("Russian", "русский", "ru"),
    Language("Spanish", "español", "es", audio=True, aliases=("castellano",)),
    Language("Swedish", "svenska", "sv"),
    Language("Thai", "ไทย", "th"),
    Language("Turkish", "Türkçe", "tr"),
    Language("Ukrainian", "українська", "uk"),
)
"""All 23 languages of the model, by English name."""

AUDIO_LANGUAGES: tuple[Language, ...] = tuple(each for each in LANGUAGES if each.audio)
"""The 8 languages that the model understands spoken."""


def _normalized_name(text: str) -> str:
    """Fold case and drop accents: `FRANÇAIS` and `francais` are the same name."""
    decomposed = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _all_names(language: Language) -> tuple[str, ...]:
    return (language.name, language.native, language.code, *language.aliases)


_LANGUAGE_BY_NAME = {
    _normalized_name(name): language for language in LANGUAGES for name in _all_names(language)
}


def find_language(text: str, *, option: str = "--language") -> Language:
    """Find a language the model writes, by English name, native name or code (`fr`, `fr-CA`).

    Args:
        text: Name or code; case and accents do not matter.
        option: Option that the name was given with, for the message.

    Raises:
        UsageError: The language is unknown; the message lists all, the nearest first.
    """
    found = _lookup(text)
    if found is None:
        raise _unknown_language_error(
            text, "the model knows no language of this name", LANGUAGES, option
        )
    return found


def find_audio_language(text: str, *, option: str = "--language") -> Language:
    """Find a language that the model understands spoken, as `find_language` does.

    Raises:
        UsageError: The language is unknown, or the model only writes it.
    """
    found = _lookup(text)
    if found is None:
        raise _unknown_language_error(
            text, "the model knows no language of this name", AUDIO_LANGUAGES, option
        )
    if not found.audio:
        problem = f"the model writes {found.name} but was not trained to hear it"
        raise _unknown_language_error(text, problem, AUDIO_LANGUAGES, option)
    return found


def _lookup(text: str) -> Language | None:
    if found := _LANGUAGE_BY_NAME.get(_normalized_name(text)):
        return found
    # A code with a region or a script: fr-CA, pt_BR, zh-Hant-TW.
    code, *rest = re.split("[-_]", text.strip())
    return _LANGUAGE_BY_NAME.get(_normalized_name(code)) if rest and len(code) in (2, 3) else None


def _unknown_language_error(
    text: str, problem: str, languages: tuple[Language, ...], option: str
) -> UsageError:
    known = {_normalized_name(name): each.name for each in languages for name in _all_names(each)}
    near = difflib.get_close_matches(_normalized_name(text), known, n=3, cutoff=0.6)
    nearest = list(dict.fromkeys(known[key] for key in near))
    ordered = nearest + [each.name for each in languages if each.name not in nearest]
    return UsageError(problem, f"{option} {text}", f"it knows {', '.join(ordered)}")
