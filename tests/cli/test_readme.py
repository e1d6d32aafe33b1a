"""The README says what is true: options, exit codes, formats, presets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from phi4audio_cli.cli.app import app
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.languages import AUDIO_LANGUAGES
from phi4audio_cli.settings import DEFAULT_MODEL, Settings
from phi4audio_cli.settings_loader import preset_names
from phi4audio_cli.writers import FORMATS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = [line for line in README.splitlines() if line.startswith("| ")]


def first_cells() -> list[str]:
    return [row.split("|")[1].strip() for row in ROWS]


def test_every_option_has_its_row_and_every_row_its_option() -> None:
    command = typer.main.get_command(app).commands["transcribe"]
    options = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-") and parameter.name != "help"
    }
    told = {
        name for cell in first_cells() for name in re.findall(r"`(--?[a-z-]+)(?: [A-Z]+)?`", cell)
    }
    assert told == options


def test_defaults_are_documented() -> None:
    defaults = Settings()
    assert f"`{DEFAULT_MODEL}` |" in README
    assert f"`{','.join(defaults.formats)}` |" in README
    assert any("--batch-size" in row and f"| `{defaults.batch_size}`" in row for row in ROWS)
    assert any("--chunk" in row and f"| {defaults.chunk_seconds:g} |" in row for row in ROWS)


def test_exit_codes_are_documented() -> None:
    told = [int(cell) for cell in first_cells() if cell.isdigit()]
    assert told == sorted(told) == [int(code) for code in ExitCode]


def test_formats_presets_and_languages_are_documented() -> None:
    assert all(f"| `{name}` |" in README for name in FORMATS)
    assert all(f"--config {name}`" in README for name in preset_names() if name != "default")
    assert all(language.name in README for language in AUDIO_LANGUAGES)


def test_every_command_is_documented() -> None:
    commands = typer.main.get_command(app).commands
    assert [name for name in commands if f"phi4audio {name} " not in README] == ["samples"]
    assert "$(phi4audio samples)" in README


@pytest.mark.parametrize(
    "page",
    [
        "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/tasks.md",
        "docs/batch-jobs.md", "docs/strip-export.md", "docs/cluster.md",
    ],
)  # fmt: skip
def test_documented_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / target).exists(), target
    for target in re.findall(r"`((?:tests|scripts|docs|configs)/[\w./-]+)`", text):
        assert (ROOT / target).exists(), target
