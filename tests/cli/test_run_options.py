"""Options that end a run early, the report, and several jobs on one folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.jobs.journal import LocalJournal
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.pipeline import output_writer
from phi4audio_cli.storage import STATE_DIR

from .cli_runner import outputs, statuses, transcribe

pytestmark = pytest.mark.usefixtures("home")


def test_fail_fast_stops_at_the_first_failure(answer) -> None:
    Path("a.wav").write_text("not audio", encoding="utf-8")
    backend = answer(batch_size=None)
    assert transcribe("-o", "out") == 10
    assert statuses() == ["failed", "done", "done"]
    Path("out/report.json").unlink()
    backend = answer()
    assert transcribe("-o", "out", "--fresh", "--fail-fast") == 10
    assert statuses()[0] == "failed"
    assert "interrupted" in statuses()
    assert len(backend.requests) < 5


def test_warnings_are_printed_reported_and_fail_with_strict(answer, monkeypatch, capsys) -> None:
    def warn(result, max_uncovered: float) -> tuple[str, ...]:
        return (f"over {max_uncovered}",) if result.duration == 2.0 else ()

    monkeypatch.setattr(output_writer, "quality_warnings", warn)
    answer()
    assert transcribe("-o", "out", "--max-uncovered", "25") == 0
    err = capsys.readouterr().err
    assert "b.wav: over 0.25" in err
    assert "recording" in err, "a table at the end"
    assert statuses() == ["done", "warnings", "done"]
    answer.refuse()
    assert transcribe("-o", "out", "--strict") == 10
    written = json.loads(Path("out/report.json").read_text("utf-8"))
    assert written["files"][1]["warnings"] == ["over 0.05"]


def test_a_damaged_recording_warns_also_when_resumed(answer, capsys) -> None:
    whole = Path("c.wav").read_bytes()
    Path("c.wav").write_bytes(whole[: len(whole) // 2])
    answer()
    for _ in range(2):
        assert transcribe("-o", "out", "--strict") == 10
        assert "c.wav: " in capsys.readouterr().err
        answer.refuse()


def test_a_report_is_written_on_request_and_its_failure_is_exit_4(answer, capsys) -> None:
    answer()
    assert transcribe() == 0
    assert not Path("report.json").exists()
    assert transcribe("--report", "there/r.json") == 0
    assert statuses("there/r.json") == ["skipped"] * 3
    Path("there/folder").mkdir()
    assert transcribe("--report", "there/folder") == 4
    assert "the report can't be written" in capsys.readouterr().err


def test_a_locked_folder_is_refused_before_a_model_is_loaded(answer, capsys) -> None:
    answer.refuse()
    with lock_output_dirs([Path("out")], shared=False):
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


def test_with_shared_a_locked_recording_is_skipped(answer, capsys) -> None:
    answer()
    with lock_output_dirs([Path("out")], shared=True):
        theirs = LocalJournal.open_exclusive(Path("out", STATE_DIR, "b.transcribe.journal"))
        assert transcribe("-o", "out", "--shared") == 0
        theirs.close()
    assert "b.wav: another job works on it" in capsys.readouterr().err
    assert not Path("out/b.txt").exists()
    [report] = Path("out").glob("report-*.json")
    assert statuses(str(report)) == ["done", "skipped", "done"]


def test_a_run_works_without_a_journal(answer, monkeypatch, capsys) -> None:
    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(LocalJournal, "open_exclusive", refuse)
    answer()
    assert transcribe("-o", "out") == 0
    assert len(outputs("out")) == 9
    assert capsys.readouterr().err.count("no journal can be written") == 1
