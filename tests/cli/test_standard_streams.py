"""Lost and closed standard streams: every file is written, and the exit code tells of lost text."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .cli_runner import transcribe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")

PROGRAM = """
import sys
from pathlib import Path
from phi4audio_cli.cli import local_run
from phi4audio_cli.cli.app import main
from phi4audio_cli.pipeline.backend import ScriptedBackend
from tests.factories import session_factory

def answer(request):
    Path("started").touch()
    while Path("wait").exists():
        pass
    return "text " * 3

local_run.open_session = session_factory(ScriptedBackend(answer, batch_size=1), ())
main(["transcribe", "a.wav", "b.wav", "c.wav", "-o", "out", *sys.argv[1:]])
"""
"""Transcribes three recordings in a process of its own, with real readers."""

ROOT = Path(__file__).parents[2]


def shell(home: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run the program below a shell; its exit code is the last line of standard error."""
    program = shlex.join([sys.executable, "-c", PROGRAM])
    return subprocess.run(
        ["bash", "-c", f"exec 9>&2; {{ {program}; echo $? >&9; }} {redirection}"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def written(home: Path) -> list[str]:
    return sorted(each.name for each in (home / "out").glob("*.txt"))


ALL = ["a.txt", "b.txt", "c.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&-", 0),
        ("<&- >&- 2>&-", 0),
        (">/dev/full", 4),
        ("2>/dev/full", 0),
        (">/dev/full 2>&1", 4),
        ("2>&1 | head -1", 4),
        ("| true", 4),
        ("2> >(true)", 0),
    ],
)
def test_every_recording_is_written_whatever_the_streams_are(home, redirection, code) -> None:
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    result = shell(home, redirection)
    assert written(home) == ALL, result.stderr
    assert result.stderr.splitlines()[-1] == str(code)
    assert "bug" not in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.slow
def test_lost_text_is_reported_with_its_reason(home) -> None:
    result = shell(home, ">/dev/full")
    assert "standard output can't take the text: No space left on device" in result.stderr


@pytest.mark.slow
def test_a_terminal_that_closes_does_not_end_the_run(home) -> None:
    (home / "wait").touch()
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    while not (home / "started").exists():
        os.read(terminal, 1000)
    os.close(terminal)
    (home / "wait").unlink()
    assert process.wait(timeout=120) == 4
    assert written(home) == ALL


def test_messages_do_not_go_into_files_when_standard_error_is_closed(home) -> None:
    """Without descriptor 2 the next file that is opened would get its number."""
    program = """
import os
from phi4audio_cli.cli.standard_streams import open_closed_descriptors
open_closed_descriptors()
file = os.open("file", os.O_WRONLY | os.O_CREAT)
os.write(2, b"message")
assert file > 2
"""
    subprocess.run(
        ["bash", "-c", shlex.join([sys.executable, "-c", program]) + " 0<&- 1>&- 2>&-"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert (home / "file").read_bytes() == b""


def test_a_stream_without_errors_keeps_the_exit_code(home, answer, capsys) -> None:
    answer(lambda request: "hello")
    assert transcribe() == 0
    assert set(capsys.readouterr().out.split()) == {"hello"}
