"""Errors and exit codes, and the command without arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi4audio_cli import __version__
from phi4audio_cli.cli import app as module
from phi4audio_cli.cli.app import main
from phi4audio_cli.errors import (
    AudioError,
    CheckpointError,
    ExitCode,
    ModelError,
    OutputError,
    UsageError,
)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def failing(monkeypatch):
    """Makes every command raise an error."""

    def fail_with(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(module, "app", fail)

    return fail_with


def test_version(capsys) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"phi4audio {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help(arguments, capsys) -> None:
    assert call(*arguments) == 0
    captured = capsys.readouterr()
    assert "transcribe" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("arguments", [("transcribe",), ("transcribe", "--no"), ("transscribe",)])
def test_a_wrong_command_line_is_exit_2(arguments, capsys) -> None:
    assert call(*arguments) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (ModelError, 3), (CheckpointError, 3), (OutputError, 4), (AudioError, 10)],
)
def test_our_errors_are_one_line_with_their_exit_code(kind, code, failing, capsys) -> None:
    failing(kind("went wrong", "[red]here\n", "do this"))
    assert call("x") == code
    captured = capsys.readouterr()
    assert captured.err == "phi4audio: [red]here\\n: went wrong (do this)\n"
    assert captured.out == ""


def test_verbose_adds_the_traceback(failing, capsys) -> None:
    failing(ModelError("went wrong"))
    assert call("--verbose") == ExitCode.MODEL
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_exception_is_reported_as_a_bug(failing, capsys) -> None:
    failing(ZeroDivisionError("by zero"))
    assert call("x") == ExitCode.BUG
    err = capsys.readouterr().err
    assert err.startswith("phi4audio: this is a bug: ZeroDivisionError: by zero (")
    assert "--verbose" in err
    assert "Traceback" not in err
    assert call("-v") == ExitCode.BUG
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_exit_130(failing, capsys) -> None:
    failing(KeyboardInterrupt())
    assert call("x") == 130
    assert capsys.readouterr().err == "phi4audio: interrupted\n"


@pytest.mark.parametrize("command", ["transcribe", "doctor"])
def test_a_deleted_working_folder_is_exit_2_before_torch_is_imported(tmp_path, command) -> None:
    program = f"""
import os, sys
import phi4audio_cli.cli.app as app
os.rmdir(os.getcwd())
try:
    app.main([{command!r}, *["/a.wav"] * ({command!r} == "transcribe")])
finally:
    assert "torch" not in sys.modules
"""
    folder = tmp_path / "gone"
    folder.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (
        2,
        "phi4audio: the working folder does not exist any more (change to an existing folder)\n",
    )
