"""The report: the status of every recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.output_paths import plan_jobs
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.types import Job

from .input_helpers import local_source


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


def make_report(clock: Clock) -> Report:
    missing = UsageError("no such file", "list.txt, line 7", "check the path")
    report = Report(JOBS, "transcribe", "demo", [missing], clock=clock)
    report.mark_started(JOBS[0])
    report.count_retry(JOBS[0])
    clock.time += 4
    report.set_status(JOBS[0], "done", seconds=60.0)
    report.mark_started(JOBS[1])
    clock.time += 6
    report.set_status(JOBS[1], "warnings", seconds=20.0, warnings=["a doubtful segment"])
    report.set_status(JOBS[2], "failed", error="is damaged")
    report.set_status(JOBS[3], "skipped", seconds=1000.0)
    return report


def test_every_recording_has_an_entry_and_the_totals_add_up(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "report.json"
    make_report(Clock()).write(path)
    written = json.loads(path.read_text(encoding="utf-8"))
    totals = written["totals"]
    assert totals == {
        "files": 6, "done": 1, "skipped": 1, "warnings": 1, "failed": 1, "interrupted": 2,
        "missing": 1, "retries": 1, "seconds": 1080.0, "elapsed": 10.0,
        "rtfx": 8.0,  # skipped recordings count for no speed
    }  # fmt: skip
    assert sum(totals[each] for each in list(totals)[1:6]) == totals["files"]
    first, second, third, fourth, fifth, last = written["files"]
    assert first == {
        "source": "a.wav", "status": "done", "seconds": 60.0, "rtfx": 15.0, "retries": 1,
        "warnings": [], "error": None, "outputs": ["out/a.txt"],
    }  # fmt: skip
    assert (second["status"], second["warnings"]) == ("warnings", ["a doubtful segment"])
    assert (third["error"], third["outputs"]) == ("is damaged", [])
    assert (fourth["rtfx"], fourth["outputs"]) == (None, ["out/d.txt"])
    assert fifth["status"] == "interrupted"
    assert last["source"] == "https://example.org/f.wav"
    [missing] = written["missing"]
    assert missing == {
        "source": "list.txt, line 7", "error": "list.txt, line 7: no such file (check the path)",
    }  # fmt: skip


def test_problems_are_failures_then_warnings() -> None:
    problems = make_report(Clock()).problems()
    assert [(each.source, each.message) for each in problems] == [
        ("[bold]ç.wav", "is damaged"),
        ("b.wav", "a doubtful segment"),
    ]


def test_location_of_the_report() -> None:
    def location(jobs=JOBS, folder=Path("out"), requested=None, suffix="") -> Path | None:
        return report_path(jobs, folder, requested, suffix=suffix)

    assert location() == Path("out/report.json")
    assert location(folder=None) is None
    assert location(folder=None, requested=Path("r.json")) == Path("r.json")
    assert location(suffix="3-of-16") == Path("out/report-3-of-16.json")
    taken = Job(0, Path("report.wav"), {"json": Path("out/report.json")})
    assert location([taken]) == Path("out/.phi4audio/report.json")
    with pytest.raises(UsageError, match="is a recording or an output"):
        location([taken], requested=Path("out/report.json"))


def test_a_remote_report_replaces_no_output(tmp_path: Path, remote_filesystem) -> None:
    folder = RemotePath(f"{remote_filesystem.protocol}://calls/out")
    jobs = plan_jobs([local_source(tmp_path / "talk.wav")], ["txt"], folder)
    path = report_path(jobs, folder, None)
    assert path == folder / "report.json"
    Report(jobs, "transcribe", "demo").write(path)
    assert b'"schema_version"' in remote_filesystem.content()["/calls/out/report.json"]
    with pytest.raises(UsageError, match="recording or an output"):
        report_path(jobs, folder, folder / "talk.txt")
    taken = plan_jobs([local_source(tmp_path / "report.wav")], ["json"], folder)
    assert report_path(taken, folder, None) == folder / ".phi4audio" / "report.json"
