"""Standard output: transcripts in order and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys

import pytest

from phi4audio_cli.cli.run_reporter import OrderedStdout
from tests.factories import make_job


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_texts_are_printed_in_job_order(order, capsys) -> None:
    output = OrderedStdout(lambda job: contextlib.nullcontext())
    for index in order:
        output.put(make_job(index), None if index == 2 else f"text {index}")
    assert capsys.readouterr().out == "text 0\ntext 1\ntext 3\n"


def test_a_text_is_printed_once_all_earlier_texts_are(capsys) -> None:
    output = OrderedStdout(lambda job: contextlib.nullcontext())
    output.put(make_job(1), "second")
    assert capsys.readouterr().out == ""
    output.put(make_job(0), "first")
    assert capsys.readouterr().out == "first\nsecond\n"
    output.put(make_job(2), "")
    assert capsys.readouterr().out == ""


def test_a_closed_stdout_pipe_does_not_end_the_run() -> None:
    program = """
import contextlib, sys
from phi4audio_cli.cli.standard_streams import tolerate_lost_streams
from pathlib import Path
from phi4audio_cli.cli.run_reporter import OrderedStdout
from phi4audio_cli.types import Job
tolerate_lost_streams()
output = OrderedStdout(lambda job: contextlib.nullcontext())
output.put(Job(0, Path("a")), "first")
sys.stdin.readline()  # by now the reader is gone
for index in range(1, 50):
    output.put(Job(index, Path("a")), "x" * 10_000)
print("still here", file=sys.stderr)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    process.stdin.write("go\n")
    process.stdin.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (0, "still here\n")
