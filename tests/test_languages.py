"""Languages are found by any name, and a wrong one is answered with the nearest."""

from __future__ import annotations

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import (
    AUDIO_LANGUAGES,
    LANGUAGES,
    find_audio_language,
    find_language,
)


def test_23_text_languages_and_8_audio_languages() -> None:
    assert len(LANGUAGES) == 23
    assert {each.code for each in AUDIO_LANGUAGES} == {
        "en", "zh", "de", "fr", "it", "ja", "es", "pt",
    }  # fmt: skip
    assert len({each.code for each in LANGUAGES}) == 23
    assert [each.name for each in LANGUAGES] == sorted(each.name for each in LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.name)
def test_every_name_finds_its_language(language) -> None:
    for name in (language.name, language.native, language.code, *language.aliases):
        assert find_language(name) is language
        assert find_language(f"  {name.upper()} ") is language


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fr-CA", "French"),
        ("pt_BR", "Portuguese"),
        ("zh-Hant-TW", "Chinese"),
        ("francais", "French"),
        ("turkce", "Turkish"),
        ("nb", "Norwegian"),
    ],
)
def test_regions_and_missing_accents_are_accepted(text: str, name: str) -> None:
    assert find_language(text).name == name


@pytest.mark.parametrize(
    ("text", "nearest"), [("Frensh", "French"), ("deutch", "German"), ("Portugese", "Portuguese")]
)
def test_a_misspelt_language_suggests_the_nearest_first(text: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_language(text, option="--lang")
    assert caught.value.where == f"--lang {text}"
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(f"it knows {nearest}, ")
    assert all(each.name in caught.value.remedy for each in LANGUAGES)


def test_audio_languages_are_a_subset_of_text_languages() -> None:
    assert find_audio_language("日本語").name == "Japanese"
    with pytest.raises(UsageError, match="writes Danish but was not trained to hear it"):
        find_audio_language("da")
    with pytest.raises(UsageError, match="knows no language"):
        find_audio_language("Klingon")


@pytest.mark.parametrize("text", ["", "-", "--", "x-fr", "french-ish"])
def test_invalid_language_names_are_rejected(text: str) -> None:
    with pytest.raises(UsageError):
        find_language(text)
