"""The same command again: only the rest is done, and the outputs are an undisturbed run's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import phi4audio_cli
from phi4audio_cli.jobs.journal_entries import read_journal
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.storage import STATE_DIR
from phi4audio_cli.types import Request
from tests.factories import write_tone

from .cli_runner import (
    interrupt_fourth_request,
    outputs,
    phi4audio,
    say_length,
    statuses,
    transcribe,
)

pytestmark = pytest.mark.usefixtures("home")

SAMPLES = Path(phi4audio_cli.__file__).parent / "demo" / "samples"


# Finished recordings need no model.


def test_a_second_run_loads_no_model_and_changes_nothing(answer, capsys) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.srt")}
    answer.refuse()
    assert transcribe("-o", "out") == 0
    captured = capsys.readouterr()
    assert captured.out == first, "standard output is complete"
    assert "a.wav: done before, and its outputs are current" in captured.err
    assert "0 of 3 done, 3 skipped" in captured.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert statuses() == ["skipped"] * 3


def test_missing_changed_or_new_outputs_are_written_without_a_model(answer) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    expected = outputs("out")
    Path("out/a.srt").unlink()
    Path("out/b.txt").write_text("edited", encoding="utf-8")
    answer.refuse()
    assert transcribe("-o", "out") == 0
    assert outputs("out") == expected
    assert statuses() == ["done", "done", "skipped"]
    assert transcribe("-o", "out", "-f", "vtt") == 0
    assert len(list(Path("out").glob("*.vtt"))) == 3
    before = Path("out/c.srt").read_text(encoding="utf-8")
    assert transcribe("-o", "out", "--max-line-width", "10") == 0
    assert Path("out/c.srt").read_text(encoding="utf-8") != before


@pytest.mark.parametrize("option", [["--fresh"], ["--no-vad", "--dtype", "float32"], ["-l", "de"]])
def test_changed_settings_or_fresh_transcribe_again(answer, option) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    again = answer()
    assert transcribe("-o", "out", *option) == 0
    assert len({request.job for request in again.requests}) == 3


def test_only_a_changed_recording_is_transcribed_again(answer) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    write_tone(Path("b.wav"), 0.5)
    again = answer()
    assert transcribe("-o", "out") == 0
    assert {request.job for request in again.requests} == {1}
    assert Path("out/b.txt").read_text(encoding="utf-8") == "8000 samples\n"


def test_every_task_resumes(answer) -> None:
    for arguments in (
        ("translate", "a.wav", "-L", "fr,de"), ("summarize", "a.wav"), ("ask", "a.wav", "Who?"),
    ):  # fmt: skip
        answer()
        assert phi4audio(*arguments) == 0
        answer.refuse()
        assert phi4audio(*arguments) == 0


# Unfinished recordings are resumed.


def test_only_unanswered_requests_are_repeated(answer, capsys) -> None:
    whole = answer()
    assert transcribe("-o", "whole") == 0
    answer(interrupt_fourth_request())
    assert transcribe("-o", "out") == 130
    assert "interrupted" in statuses()
    assert "the same command goes on from here" in capsys.readouterr().err
    rest = answer()
    assert transcribe("-o", "out") == 0
    assert len(rest.requests) == len(whole.requests) - 3
    assert outputs("out") == outputs("whole")


def test_ctrl_c_once_finishes_the_batch_and_twice_stops_now(answer, capsys) -> None:
    pressed = 0

    def press(request: Request) -> str:
        nonlocal pressed
        if pressed < wanted:
            pressed += 1
            os.kill(os.getpid(), signal.SIGINT)
        return say_length(request)

    wanted = 1
    answer(press, batch_size=3)
    assert transcribe("-o", "out") == 130
    answered = list(Path("out", STATE_DIR).glob("*.journal"))
    assert sum(len(read_journal(path).answers()) for path in answered) == 3
    assert outputs("out").keys() == {"a.json", "a.srt", "a.txt"}
    assert "the running batch is finished first" in capsys.readouterr().err
    pressed, wanted = 0, 2
    answer(press, batch_size=3)
    assert transcribe("-o", "other") == 130
    assert not outputs("other")
    assert statuses("other/report.json") == ["interrupted"] * 3
    answer()
    assert transcribe("-o", "out") == 0
    assert len(outputs("out")) == 9


def test_sigterm_acts_like_ctrl_c(answer) -> None:
    def terminate(request: Request) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return say_length(request)

    answer(terminate)
    assert transcribe("-o", "out") == 130
    assert outputs("out")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_leftovers_of_a_killed_run_are_removed(answer) -> None:
    answer()
    Path("out").mkdir()
    torn = Path("out") / f".phi4audio-{'0' * 16}.tmp"
    torn.write_text("ha", encoding="utf-8")
    with lock_output_dirs([Path("out")], shared=True):
        assert transcribe("-o", "out", "--shared") == 0
    assert torn.exists(), "it may be another job's"
    assert transcribe("-o", "out") == 0
    assert not torn.exists()


# The real thing.

FILES = ["medium.flac", "pauses.flac", "phone.flac", "short.flac"]


@contextmanager
def demo(folder: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "phi4audio_cli", "transcribe", *FILES, "-o", folder]
    process = subprocess.Popen(
        [*command, "--model", "demo", "--offline", "--device", "cpu", "--quiet",
         "--chunk-seconds", "2", "--batch-size", "2"],
        env={**os.environ, "PHI4AUDIO_VAD": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(folder: str) -> Iterator[str]:
    for path in Path(folder, STATE_DIR).glob("*.journal"):
        for line in read_journal(path).contents:
            entry = json.loads(line)
            if "answer" in entry:
                yield f"{path.name} {entry['answer']['key']}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_any_moment_resumes_to_the_same_bytes() -> None:
    for name in FILES:
        Path(name).symlink_to(SAMPLES / name)
    with demo("whole") as process:
        assert process.wait() == 0
    total = len(list(answers("whole")))
    assert total > 8
    chance = random.Random(7)
    # python -m tools.torture kills more often.
    share = chance.uniform(0.3, 0.9)
    with demo("out") as process:
        while process.poll() is None and len(list(answers("out"))) < share * total:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.05))
    with demo("out") as process:
        assert process.wait() == 0
    assert outputs("out") == outputs("whole")
    count = Counter(answers("out"))
    assert set(count) == set(answers("whole"))
    assert max(count.values()) == 1, "a chunk was answered twice"
