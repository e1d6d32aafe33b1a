"""The same command again: only the rest is done, and the outputs are an undisturbed run's."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import phi4audio_cli
from phi4audio_cli.cli import delivery, run
from phi4audio_cli.cli.app import main
from phi4audio_cli.engine import ScriptedBackend
from phi4audio_cli.jobs.journal import Journal, read_pages
from phi4audio_cli.jobs.lock import HOME, hold
from phi4audio_cli.types import Request

from .samples import write_tone

SAMPLES = Path(phi4audio_cli.__file__).parent / "demo" / "samples"
Answer = Callable[[Request], str]


def say_length(request: Request) -> str:
    assert request.chunk is not None
    return f"{len(request.chunk.samples)} samples"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for index, name in enumerate(("a.wav", "b.wav", "c.wav"), 1):
        write_tone(tmp_path / name, float(index))
    return tmp_path


@pytest.fixture
def answer(monkeypatch) -> Callable[..., ScriptedBackend]:
    """Answers by a function from now on; nobody loads a model otherwise."""

    def refuse(settings, display) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(run, "open_backend", refuse)

    def use(function: Answer = say_length, window: int | None = 1) -> ScriptedBackend:
        scripted = ScriptedBackend(function, window=window)
        monkeypatch.setattr(run, "open_backend", lambda settings, display: scripted)
        return scripted

    use.nobody = lambda: monkeypatch.setattr(run, "open_backend", refuse)  # type: ignore[attr-defined]
    return use


def phi4audio(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def transcribe(*arguments: str | Path) -> int:
    return phi4audio("transcribe", "a.wav", "b.wav", "c.wav", "--chunk-seconds", "1", *arguments)


def outputs(folder: Path | str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith("report")
    }


def statuses(path: str = "out/report.json") -> list[str]:
    return [each["status"] for each in json.loads(Path(path).read_text("utf-8"))["files"]]


# What is done needs no model.


def test_a_second_run_loads_no_model_and_changes_nothing(answer, capsys) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.srt")}
    answer.nobody()
    assert transcribe("-o", "out") == 0
    captured = capsys.readouterr()
    assert captured.out == first, "standard output is complete"
    assert "a.wav: done before, and its outputs are current" in captured.err
    assert "0 of 3 done, 3 skipped" in captured.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert statuses() == ["skipped"] * 3


def test_what_is_missing_changed_or_newly_asked_for_is_written_without_a_model(answer) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    expected = outputs("out")
    Path("out/a.srt").unlink()
    Path("out/b.txt").write_text("edited", encoding="utf-8")
    answer.nobody()
    assert transcribe("-o", "out") == 0
    assert outputs("out") == expected
    assert statuses() == ["done", "done", "skipped"]
    assert transcribe("-o", "out", "-f", "vtt") == 0
    assert len(list(Path("out").glob("*.vtt"))) == 3
    before = Path("out/c.srt").read_text(encoding="utf-8")
    assert transcribe("-o", "out", "--max-line-width", "10") == 0
    assert Path("out/c.srt").read_text(encoding="utf-8") != before


@pytest.mark.parametrize("option", [["--fresh"], ["--no-vad", "--dtype", "float32"], ["-l", "de"]])
def test_other_settings_or_fresh_do_it_again(answer, option) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    again = answer()
    assert transcribe("-o", "out", *option) == 0
    assert len({request.job for request in again.requests}) == 3


def test_a_changed_recording_is_done_again_and_the_others_are_not(answer) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    write_tone(Path("b.wav"), 0.5)
    again = answer()
    assert transcribe("-o", "out") == 0
    assert {request.job for request in again.requests} == {1}
    assert Path("out/b.txt").read_text(encoding="utf-8") == "8000 samples\n"


def test_every_task_goes_on(answer) -> None:
    for arguments in (
        ("translate", "a.wav", "-L", "fr,de"), ("summarize", "a.wav"), ("ask", "a.wav", "Who?"),
    ):  # fmt: skip
        answer()
        assert phi4audio(*arguments) == 0
        answer.nobody()
        assert phi4audio(*arguments) == 0


# What is cut off goes on.


def test_only_what_was_not_answered_is_asked(answer, capsys) -> None:
    whole = answer()
    assert transcribe("-o", "whole") == 0
    count = 0

    def fail_late(request: Request) -> str:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return say_length(request)

    answer(fail_late)
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
    answer(press, window=3)
    assert transcribe("-o", "out") == 130
    answered = list(Path("out", HOME).glob("*.journal"))
    assert sum(len(read_pages(path).answers()) for path in answered) == 3
    assert outputs("out").keys() == {"a.json", "a.srt", "a.txt"}
    assert "the running batch is finished first" in capsys.readouterr().err
    pressed, wanted = 0, 2
    answer(press, window=3)
    assert transcribe("-o", "other") == 130
    assert not outputs("other")
    assert statuses("other/report.json") == ["interrupted"] * 3
    answer()
    assert transcribe("-o", "out") == 0
    assert len(outputs("out")) == 9


def test_being_asked_to_terminate_is_like_ctrl_c(answer) -> None:
    def terminate(request: Request) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return say_length(request)

    answer(terminate)
    assert transcribe("-o", "out") == 130
    assert outputs("out")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_a_killed_run_left_half_written_is_cleaned_away(answer) -> None:
    answer()
    Path("out").mkdir()
    torn = Path("out") / f".phi4audio-{'0' * 16}.tmp"
    torn.write_text("ha", encoding="utf-8")
    with hold([Path("out")], shared=True):
        assert transcribe("-o", "out", "--shared") == 0
    assert torn.exists(), "it may be another job's"
    assert transcribe("-o", "out") == 0
    assert not torn.exists()


# Rules, report, locks.


def test_fail_fast_stops_at_the_first_failure(answer) -> None:
    Path("a.wav").write_text("not audio", encoding="utf-8")
    backend = answer(window=None)
    assert transcribe("-o", "out") == 10
    assert statuses() == ["failed", "done", "done"]
    Path("out/report.json").unlink()
    backend = answer()
    assert transcribe("-o", "out", "--fresh", "--fail-fast") == 10
    assert statuses()[0] == "failed"
    assert "interrupted" in statuses()
    assert len(backend.requests) < 5


def test_warnings_are_told_reported_and_with_strict_an_exit_code(
    answer, monkeypatch, capsys
) -> None:
    def warn(result, max_uncovered: float) -> tuple[str, ...]:
        return (f"over {max_uncovered}",) if result.duration == 2.0 else ()

    monkeypatch.setattr(delivery, "quality_warnings", warn)
    answer()
    assert transcribe("-o", "out", "--max-uncovered", "25") == 0
    err = capsys.readouterr().err
    assert "b.wav: over 0.25" in err
    assert "recording" in err, "a table at the end"
    assert statuses() == ["done", "warnings", "done"]
    answer.nobody()
    assert transcribe("-o", "out", "--strict") == 10
    written = json.loads(Path("out/report.json").read_text("utf-8"))
    assert written["files"][1]["warnings"] == ["over 0.05"]


def test_a_damaged_recording_is_done_with_a_warning_then_and_later(answer, capsys) -> None:
    whole = Path("c.wav").read_bytes()
    Path("c.wav").write_bytes(whole[: len(whole) // 2])
    answer()
    for _ in range(2):
        assert transcribe("-o", "out", "--strict") == 10
        assert "c.wav: " in capsys.readouterr().err
        answer.nobody()


def test_a_report_only_where_it_is_wanted_and_one_that_cannot_be_written(answer, capsys) -> None:
    answer()
    assert transcribe() == 0
    assert not Path("report.json").exists()
    assert transcribe("--report", "there/r.json") == 0
    assert statuses("there/r.json") == ["skipped"] * 3
    Path("there/folder").mkdir()
    assert transcribe("--report", "there/folder") == 4
    assert "the report can't be written" in capsys.readouterr().err


def test_a_second_job_on_the_folder_refuses_before_a_model_is_loaded(answer, capsys) -> None:
    answer.nobody()
    with hold([Path("out")], shared=False):
        assert transcribe("-o", "out") == 2
    assert "--shared" in capsys.readouterr().err


def test_shards_together_do_everything_once(answer, capsys) -> None:
    answer()
    for number in (1, 2, 3, 4):
        assert transcribe("-o", "out", "--shard", f"{number}/4") == 0
    assert sorted(path.name for path in Path("out").glob("*.txt")) == ["a.txt", "b.txt", "c.txt"]
    reports = [json.loads(path.read_text()) for path in Path("out").glob("report-*-of-4.json")]
    assert [report["totals"]["done"] for report in reports] == [1, 1, 1]
    assert "fewer recordings than parts" in capsys.readouterr().err


def test_with_shared_what_another_job_works_on_is_left_to_it(answer, capsys) -> None:
    answer()
    with hold([Path("out")], shared=True):
        theirs = Journal.claim(Path("out", HOME, "b.transcribe.journal"))
        assert transcribe("-o", "out", "--shared") == 0
        theirs.close()
    assert "b.wav: another job works on it" in capsys.readouterr().err
    assert not Path("out/b.txt").exists()
    [report] = Path("out").glob("report-*.json")
    assert statuses(str(report)) == ["done", "skipped", "done"]


def test_a_run_without_a_journal_is_a_run_all_the_same(answer, monkeypatch, capsys) -> None:
    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Journal, "claim", refuse)
    answer()
    assert transcribe("-o", "out") == 0
    assert len(outputs("out")) == 9
    assert capsys.readouterr().err.count("no journal can be kept") == 1


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
    for path in Path(folder, HOME).glob("*.journal"):
        for line in read_pages(path).lines:
            entry = json.loads(line)
            if "answer" in entry:
                yield f"{path.name} {entry['answer']['key']}"


@pytest.mark.timeout(900)
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes() -> None:
    for name in FILES:
        Path(name).symlink_to(SAMPLES / name)
    with demo("whole") as process:
        assert process.wait() == 0
    total = len(list(answers("whole")))
    assert total > 8
    chance = random.Random(7)
    # scripts/torture.py kills more often.
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
