"""README and docs are true: options, exit codes, formats, presets, commands, paths."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import typer.main

from phi4audio_cli.cli.app import app
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.languages import AUDIO_LANGUAGES, LANGUAGES
from phi4audio_cli.settings import DEFAULT_MODEL, Settings
from phi4audio_cli.settings_loader import preset_names
from phi4audio_cli.writers import FORMATS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = [line for line in README.splitlines() if line.startswith("| ")]
PAGES = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"),
    "phi4audio_cli/demo/README.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
PATH = re.compile(
    r"`((?:tests|scripts|docs|configs|benchmarks|tools|training|phi4audio_cli)/[\w./-]+)`"
)
PACKAGE_PATH = re.compile(
    r"`((?:audio|cli|cluster|jobs|model|network|pipeline|tasks|text|writers|checkpoint)/\w+\.py)[`:]"
)
MODULE = re.compile(r"python -m ((?:benchmarks|tools|training)[\w.]*)")


def first_cells() -> list[str]:
    return [row.split("|")[1].strip() for row in ROWS]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def option_flags(command: str) -> set[str]:
    parameters = typer.main.get_command(app).commands[command].params
    return {
        flag
        for parameter in parameters
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("-")
    }


def test_readme_is_short() -> None:
    assert len(README) < 6_600


def test_options_in_examples_exist() -> None:
    commands = typer.main.get_command(app).commands
    for line in re.findall(r"^\$ phi4audio (.+)$", README, flags=re.MULTILINE):
        command, *words = re.sub(r"#.*|\"[^\"]*\"", "", line).split()
        assert command in commands, line
        used = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
        assert used <= option_flags(command), line


def test_options_in_the_text_exist() -> None:
    existing = {
        flag for command in typer.main.get_command(app).commands for flag in option_flags(command)
    }
    named = set(re.findall(r"`(?:phi4audio [a-z-]+ )?(--?[a-z][a-z-]*)", README))
    assert len(named) > 5
    assert named <= existing


def test_defaults_are_documented() -> None:
    assert f"`{DEFAULT_MODEL}`" in README
    assert f"`-f {','.join(Settings().formats)}` is the default" in README


def test_exit_codes_are_documented() -> None:
    documented = [int(cell) for cell in first_cells() if cell.isdigit()]
    assert documented == sorted(documented) == [int(code) for code in ExitCode]


def test_formats_presets_and_languages_are_documented() -> None:
    assert all(f"| `{name}` |" in README for name in FORMATS)
    assert all(f"--config {name}`" in README for name in preset_names() if name != "default")
    assert all(language.name in README for language in AUDIO_LANGUAGES)
    assert f"any of {len(LANGUAGES)} languages" in README


def test_every_command_is_documented() -> None:
    commands = typer.main.get_command(app).commands
    others = {name for name in commands if f"phi4audio {name} " not in README}
    assert others == {"samples", "doctor"}
    assert "$(phi4audio samples)" in README
    assert "`phi4audio doctor`" in README


@pytest.mark.parametrize("page", PAGES)
def test_documented_paths_exist(page: str) -> None:
    text = read(page)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for target in PATH.findall(text):
        assert "NAME" in target or (ROOT / target).exists(), target
    for target in PACKAGE_PATH.findall(text):
        assert (ROOT / "phi4audio_cli" / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_documented_modules_exist(page: str) -> None:
    for name in MODULE.findall(read(page)):
        assert "NAME" in name or importlib.util.find_spec(name), name


def test_the_data_flow_names_modules_that_exist() -> None:
    flow = read("docs/architecture.md").split("```")[1]
    names = set(re.findall(r"\b((?:audio|jobs|pipeline|model)\.\w+)", flow))
    assert len(names) > 8
    assert {
        name for name in names if not importlib.util.find_spec(f"phi4audio_cli.{name}")
    } == set()


def test_every_package_is_in_the_layers_table() -> None:
    page = read("docs/architecture.md")
    rows = re.findall(
        r"^\| (`.+?) \|", page.split("## Layers")[1].split("##")[0], flags=re.MULTILINE
    )
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    layers = re.search(r"^layers = \[(.*?)^\]", read("pyproject.toml"), re.DOTALL | re.MULTILINE)
    assert layers
    assert documented == set(re.findall(r"phi4audio_cli\.(\w+)", layers[1]))
