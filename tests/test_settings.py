"""Each setting declares its option once, and its values are normalized and checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from phi4audio_cli.settings import Settings, environment_variable, option_name, setting_option


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("formats", "--format"),
        ("batch_size", "--batch-size"),
        ("vad", "--vad"),
        ("prompts", "--prompts"),
        ("no_setting", "--no-setting"),
    ],
)
def test_option_name_is_the_first_flag(key: str, name: str) -> None:
    assert option_name(key) == name


def test_environment_variable_has_the_name_of_the_key() -> None:
    assert environment_variable("max_lines") == "PHI4AUDIO_MAX_LINES"


def test_no_two_settings_share_a_flag() -> None:
    options = [setting_option(key).flags for key in Settings.model_fields]
    flags = [flag for each in options for declared in each for flag in declared.split("/")]
    assert len(flags) == len(set(flags))


def test_options_with_a_value_have_a_metavar_and_switches_have_none() -> None:
    for key, field in Settings.model_fields.items():
        option = setting_option(key)
        takes_value = bool(option.flags) and field.annotation is not bool
        assert bool(option.metavar) == takes_value, key


def test_values_are_normalized() -> None:
    settings = Settings(
        adapter="~/lora", language="deutsch", formats="srt, TXT,srt", batch_size="4"
    )
    assert settings.adapter == Path.home() / "lora"
    assert settings.language == "German"
    assert settings.formats == ("srt", "txt")
    assert settings.batch_size == 4


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.model = "demo"


def test_cue_style_takes_the_subtitle_settings() -> None:
    style = Settings(max_line_width=30, max_lines=3, max_cue_seconds=4).cue_style
    assert (style.max_line_width, style.max_lines, style.max_cue_seconds) == (30, 3, 4.0)
    assert not style.highlight_words
