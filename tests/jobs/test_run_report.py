"""The report: every recording with what became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.types import Job


def job(index: int, name: str, **more) -> Job:
    return Job(index, Path(name), {"txt": Path("out") / f"{Path(name).stem}.txt"}, **more)


JOBS = [
    job(0, "a.wav"), job(1, "b.wav"), job(2, "[bold]ç.wav"), job(3, "d.wav"), job(4, "e.wav"),
    job(5, "f.wav", url="https://me:secret@example.org/f.wav?key=secret"),
]  # fmt: skip


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


def filled(clock: Clock) -> Report:
    missing = UsageError("no such file", "list.txt, line 7", "check the path")
    report = Report(JOBS, "transcribe", "demo", [missing], clock=clock)
    report.mark_started(JOBS[0])
    report.count_retry(JOBS[0])
    clock.time += 4
    report.set_status(JOBS[0], "done", seconds=60.0)
    report.mark_started(JOBS[1])
    clock.time += 6
    report.set_status(JOBS[1], "warnings", seconds=20.0, warnings=["it is doubtful"])
    report.set_status(JOBS[2], "failed", error="is torn")
    report.set_status(JOBS[3], "skipped", seconds=1000.0)
    return report


def test_every_recording_has_its_line_and_the_totals_add_up(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "report.json"
    filled(Clock()).write(path)
    written = json.loads(path.read_text(encoding="utf-8"))
    totals = written["totals"]
    assert totals == {
        "files": 6, "done": 1, "skipped": 1, "warnings": 1, "failed": 1, "interrupted": 2,
        "missing": 1, "retries": 1, "seconds": 1080.0, "elapsed": 10.0,
        "rtfx": 8.0,  # what was skipped took no time and counts for no speed
    }  # fmt: skip
    assert sum(totals[each] for each in list(totals)[1:6]) == totals["files"]
    first, second, third, fourth, fifth, last = written["files"]
    assert first == {
        "source": "a.wav", "status": "done", "seconds": 60.0, "rtfx": 15.0, "retries": 1,
        "warnings": [], "error": None, "outputs": ["out/a.txt"],
    }  # fmt: skip
    assert (second["status"], second["warnings"]) == ("warnings", ["it is doubtful"])
    assert (third["error"], third["outputs"]) == ("is torn", [])
    assert (fourth["rtfx"], fourth["outputs"]) == (None, ["out/d.txt"])
    assert fifth["status"] == "interrupted"
    assert last["source"] == "https://example.org/f.wav"
    [missing] = written["missing"]
    assert missing == {
        "source": "list.txt, line 7", "error": "list.txt, line 7: no such file (check the path)",
    }  # fmt: skip


def test_troubles_are_failures_then_warnings() -> None:
    troubles = filled(Clock()).problems()
    assert [(each.source, each.message) for each in troubles] == [
        ("[bold]ç.wav", "is torn"),
        ("b.wav", "it is doubtful"),
    ]


def test_where_it_lies() -> None:
    def where(jobs=JOBS, folder=Path("out"), asked=None, suffix="") -> Path | None:
        return report_path(jobs, folder, asked, suffix=suffix)

    assert where() == Path("out/report.json")
    assert where(folder=None) is None
    assert where(folder=None, asked=Path("r.json")) == Path("r.json")
    assert where(suffix="3-of-16") == Path("out/report-3-of-16.json")
    mine = Job(0, Path("report.wav"), {"json": Path("out/report.json")})
    assert where([mine]) == Path("out/.phi4audio/report.json")
    with pytest.raises(UsageError, match="is a recording or an output"):
        where([mine], asked=Path("out/report.json"))
