"""The generated files follow from settings.py and from the options of the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phi4audio_cli.settings import Settings, setting_option
from phi4audio_cli.settings_loader import preset_names
from tools.make_options.options_page import command_options, options_page
from tools.make_options.presets import preset_files
from tools.make_options.setting_texts import help_text, long_text, toml_value
from tools.make_options.typer_options import TYPER_OPTIONS_PATH, typer_options_module

ROOT = Path(__file__).resolve().parents[2]

GENERATED_FILES = {
    TYPER_OPTIONS_PATH: typer_options_module,
    "docs/options.md": options_page,
    **{path: lambda path=path: preset_files()[path] for path in preset_files()},
}


@pytest.mark.parametrize("path", GENERATED_FILES)
def test_generated_file_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == GENERATED_FILES[path](), (
        "run python -m tools.make_options"
    )


def test_no_preset_is_written_by_hand() -> None:
    assert [f"configs/{name}.toml" for name in preset_names()] == sorted(preset_files())


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("chunk_seconds", "given to the model at once, 1 to 40. Default: 40."),
        ("align", "attention, speech or none. Default: attention."),
        ("track", "counted from 0. Default: the first."),
        ("formats", "Default: txt,json,srt; "),
        ("vad", "Default: --vad."),
        ("device", "such as cuda:1. Default: auto."),
    ],
)
def test_help_has_allowed_values_and_default(key: str, text: str) -> None:
    assert text in help_text(key)


@pytest.mark.parametrize("key", Settings.model_fields)
def test_texts_of_every_setting_are_complete_sentences(key: str) -> None:
    for text in (help_text(key), long_text(key)):
        assert re.fullmatch(r"[A-Z].*\.", text)
        assert "{allowed}" not in text
        assert ".." not in text


def test_every_option_of_a_setting_belongs_to_a_command() -> None:
    texts = {option.help for option in command_options()}
    assert {key for key in Settings.model_fields if help_text(key) not in texts} == {"prompts"}


def test_every_option_has_a_help_text() -> None:
    assert [option.flags for option in command_options() if not option.help] == []


def test_page_names_key_and_variable_of_every_setting() -> None:
    rows = [line for line in options_page().splitlines() if line.startswith("| ")]
    for key in Settings.model_fields:
        [row] = [row for row in rows if f"| `{key}` | `PHI4AUDIO_{key.upper()}` |" in row]
        for flag in setting_option(key).flags:
            assert f"`{flag.split('/')[0]}" in row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (40.0, "40"),
        (2.5, "2.5"),
        (("txt", "srt"), '["txt", "srt"]'),
        ({"paragraph": 'say "it"'}, '{ paragraph = "say \\"it\\"" }'),
    ],
)
def test_toml_value(value: object, text: str) -> None:
    assert toml_value(value) == text
