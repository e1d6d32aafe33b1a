"""The presets of `--config`: configs/*.toml, every key with its comment."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phi4audio_cli.settings import Settings
from tools.make_options.setting_texts import long_text, toml_value

LINE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Preset:
    """A configuration file that ships with the program."""

    name: str
    purpose: str
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values that differ from the defaults."""


PRESETS = (
    Preset("default", "The defaults."),
    Preset("cpu", "For a machine without a GPU.", {"device": "cpu"}),
    Preset(
        "gpu-8gb",
        "For a GPU with 8 GB: part of the weights stays in main memory, and the model works on one "
        "chunk at a time to leave room for the others.",
        {"device": "cuda", "batch_size": 1},
    ),
    Preset(
        "gpu-24gb",
        "For a GPU with 24 GB, such as an RTX 3090 or 4090.",
        {"device": "cuda", "batch_size": 16},
    ),
    Preset(
        "gpu-80gb",
        "For a GPU with 80 GB or more, such as an A100 or H100.",
        {"device": "cuda", "batch_size": 64},
    ),
)

USAGE = """\
Use it with `--config {name}`, or copy it and pass the path of the copy. A flag or a PHI4AUDIO_* \
environment variable (PHI4AUDIO_BATCH_SIZE=4) overrides a value in this file. A line that begins \
with # is not set."""


def preset_files() -> dict[str, str]:
    """Return the text of every preset by its path in the project."""
    return {f"configs/{preset.name}.toml": preset_text(preset) for preset in PRESETS}


def preset_text(preset: Preset) -> str:
    """Return the text of a preset."""
    head = f"{_comment(preset.purpose)}\n#\n{_comment(USAGE.replace('{name}', preset.name))}"
    keys = Settings.model_fields
    entries = [f"{_comment(long_text(key))}\n{_entry(key, preset)}" for key in keys]
    return "\n\n".join([head, *entries]) + "\n"


def _entry(key: str, preset: Preset) -> str:
    """Return the line of a key, commented out where it has no value."""
    setting = Settings.model_fields[key]
    if setting.examples and key not in preset.values:
        return f"# {key} = {toml_value(setting.examples[0])}"
    return f"{key} = {toml_value(preset.values.get(key, setting.default))}"


def _comment(text: str) -> str:
    prefix = "# "
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_on_hyphens=False,
        break_long_words=False,
    )
