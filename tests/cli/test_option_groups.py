"""The options of a command line become the settings and options of a command."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from phi4audio_cli.cli.option_groups import RenderOptions, TranscribeOptions, expand_options


@pytest.fixture
def parse(monkeypatch):
    """Returns the option group that a command receives from a command line."""
    monkeypatch.setenv("PHI4AUDIO_MAX_LINES", "4")

    def call(kind: type, *arguments: str):
        received = []

        def command(group, name: str = "none") -> None:
            received.append((group, name))

        command.__annotations__["group"] = kind
        app = typer.Typer()
        app.command()(expand_options(command))
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return received[0]

    return call


def test_only_given_options_are_settings(parse) -> None:
    group, name = parse(RenderOptions, "--max-line-width", "30", "-f", "vtt", "--name", "own")
    assert name == "own"
    assert {key: value for key, value in group.flags.items() if value is not None} == {
        "max_line_width": 30,
        "formats": ["vtt"],
    }


def test_options_override_the_environment_and_the_file(parse, tmp_path) -> None:
    config = tmp_path / "my.toml"
    config.write_text("max_lines = 3\nmax_line_width = 50\nvad = false\n", encoding="utf-8")
    group, _ = parse(TranscribeOptions, "--vad", "--config", str(config), "--batch-size", "7")
    settings = group.load_settings()
    assert settings.vad is True
    assert settings.batch_size == 7
    assert settings.max_lines == 4
    assert settings.max_line_width == 50


def test_run_options_are_not_settings(parse) -> None:
    group, _ = parse(TranscribeOptions, "--shard", "1/2", "--fresh")
    assert group.shares_outputs
    assert group.fresh
    assert not {"shard", "fresh", "config"} & set(group.flags)
