"""Outputs behind a URL: the same as in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi4audio_cli import storage
from phi4audio_cli.jobs.journal_entries import JournalEntries

from .cli_runner import interrupt_fourth_request, outputs, phi4audio, transcribe

fsspec = pytest.importorskip("fsspec")
pytestmark = pytest.mark.usefixtures("home")

OUT = "memory://calls/out"


@pytest.fixture(autouse=True)
def store() -> dict:
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    return MemoryFileSystem.store


def content(store: dict, folder: str = "/calls/out/") -> dict[str, bytes]:
    found = {path.removeprefix(folder): file.getvalue() for path, file in sorted(store.items())}
    return {path: data for path, data in found.items() if not path.startswith(".phi4audio")}


def report(store: dict) -> dict:
    return json.loads(store["/calls/out/report.json"].getvalue())


def statuses(store: dict) -> list[str]:
    return [each["status"] for each in report(store)["files"]]


def test_outputs_are_those_of_a_folder(answer, store, capsys) -> None:
    answer()
    assert transcribe("-o", "out") == 0
    shown = capsys.readouterr().out
    assert transcribe("-o", OUT) == 0
    captured = capsys.readouterr()
    assert captured.out == shown
    assert "a.wav -> memory://calls/out/a.txt .json .srt" in captured.err
    written = content(store)
    assert written.pop("report.json")
    assert set(written) == set(outputs("out"))
    assert all(Path("out", name).read_bytes() == data for name, data in written.items())
    assert report(store)["files"][0]["outputs"][0] == f"{OUT}/a.txt"
    assert not [path for path in Path().rglob("*") if "memory" in str(path) or "calls" in str(path)]


def test_a_second_run_loads_no_model_and_writes_what_is_missing(answer, store, capsys) -> None:
    answer()
    assert transcribe("-o", OUT) == 0
    before = content(store)
    answer.refuse()
    capsys.readouterr()
    assert transcribe("-o", OUT) == 0
    assert statuses(store) == ["skipped"] * 3
    assert "a.wav: done before, and its outputs are current" in capsys.readouterr().err
    del store["/calls/out/a.srt"]
    fsspec.filesystem("memory").pipe_file("/calls/out/b.txt", b"edited")
    assert transcribe("-o", OUT, "-f", "txt,json,srt,vtt") == 0
    after = content(store)
    assert {name: after[name] for name in before if "report" not in name} == {
        name: data for name, data in before.items() if "report" not in name
    }
    assert "c.vtt" in after


def test_an_interrupted_recording_resumes(answer, store) -> None:
    whole = answer()
    assert transcribe("-o", "out") == 0
    answer(interrupt_fourth_request())
    assert transcribe("-o", OUT) == 130
    assert "interrupted" in statuses(store)
    rest = answer()
    assert transcribe("-o", OUT) == 0
    assert len(rest.requests) == len(whole.requests) - 3
    written = content(store)
    assert all(Path("out", name).read_bytes() == written[name] for name in outputs("out"))


def test_a_failed_upload_fails_alone_and_is_retried_by_the_next_run(
    answer, store, monkeypatch, capsys
) -> None:
    write = storage.write_atomic

    def throttled(place, data: bytes) -> None:
        if place.name == "b.json":
            raise OSError("throttled")
        write(place, data)

    answer()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_atomic", throttled)
        assert transcribe("-o", OUT) == 4
    assert f"{OUT}/b.json: can't be written: throttled" in capsys.readouterr().err
    assert statuses(store) == ["done", "failed", "done"]
    assert "b.json" not in content(store)
    answer.refuse()
    assert transcribe("-o", OUT) == 0
    assert statuses(store) == ["skipped", "done", "skipped"]
    assert "b.json" in content(store)


def test_report_may_have_another_location(answer, store) -> None:
    answer()
    assert transcribe("-o", "out", "--report", "memory://calls/reports/today.json") == 0
    assert b'"totals"' in store["/calls/reports/today.json"].getvalue()
    assert not Path("out/report.json").exists()


def test_render_reads_and_writes_remote_files(answer, store, capsys) -> None:
    answer()
    assert transcribe("-o", OUT) == 0
    capsys.readouterr()
    assert phi4audio("render", f"{OUT}/a.json", "-f", "vtt", "-o", f"{OUT}/more") == 0
    assert capsys.readouterr().out == f"{OUT}/more/a.vtt\n"
    assert store["/calls/out/more/a.vtt"].getvalue().startswith(b"WEBVTT")
    assert phi4audio("render", f"{OUT}/a.json", f"{OUT}/none.json", "-f", "vtt") == 2
    assert Path("a.vtt").read_bytes() == store["/calls/out/more/a.vtt"].getvalue()
    assert f"{OUT}/none.json: no such file" in capsys.readouterr().err


def test_an_unusable_report_location_fails_before_work(answer, capsys) -> None:
    answer.refuse()
    assert transcribe("-o", "out", "--report", "https://example.org/report.json") == 2
    assert "https:// is read-only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "memory:/calls/out"], 2, "incomplete URL"),
        (["-o", "https://example.org/out"], 2, "https:// is read-only"),
        (["-o", OUT, "--offline"], 2, "can't be reached with --offline"),
    ],
)
def test_an_unusable_url_fails_before_a_model_is_loaded(
    answer, capsys, arguments, code, message
) -> None:
    answer.refuse()
    assert transcribe(*arguments) == code
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["a.wav", "b.wav", "c.wav"]


def test_a_missing_bucket_fails_before_a_model_is_loaded(answer, monkeypatch, capsys) -> None:
    def missing(place, data: bytes) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(storage, "write_atomic", missing)
    answer.refuse()
    assert transcribe("-o", OUT) == 4
    assert f"{OUT}: can't be written to: The specified bucket" in capsys.readouterr().err


def test_doctor_checks_a_remote_folder(store, capsys) -> None:
    from phi4audio_cli.doctor.environment_checks import check_output_dir
    from phi4audio_cli.locations import RemotePath

    assert check_output_dir(RemotePath(OUT)).status == "ok"
    assert check_output_dir(RemotePath("https://example.org")).status == "fail"


# A process that is killed puts nothing any more.

KILLED = """
import os, sys, threading
import fsspec
from fsspec.implementations.local import LocalFileSystem
from phi4audio_cli.cli import local_run
from phi4audio_cli.cli.app import main
from phi4audio_cli.jobs import journal
from phi4audio_cli.pipeline.backend import ScriptedBackend
from tests.cli.cli_runner import say_length
from tests.factories import session_factory

class Disk(LocalFileSystem):
    protocol = "disk"
    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("disk://"))

fsspec.register_implementation("disk", Disk)
last, count = int(sys.argv.pop(1)), 0
if last:
    journal.UPLOAD_DELAY_SECONDS = 0.0

def answer(request):
    global count
    count += 1
    if count == last:
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
        os._exit(9)
    return say_length(request)

local_run.open_session = session_factory(ScriptedBackend(answer))
try:
    main(sys.argv[1:])
finally:
    print(count)
"""


@pytest.mark.slow
def test_a_killed_process_loses_only_answers_not_uploaded(answer) -> None:
    whole = answer()
    assert transcribe("-o", "whole") == 0
    root = Path(__file__).parents[2]
    place = Path("out").absolute()

    def run(last: int) -> subprocess.CompletedProcess[str]:
        arguments = ["transcribe", "a.wav", "b.wav", "c.wav", "--chunk-seconds", "1"]
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(last), *arguments, "-o", f"disk://{place}"],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run(5).returncode == 9
    # An upload that was cut off keeps its temporary name.
    torn = {name for name in outputs("out") if name.endswith(".tmp")}
    left = [JournalEntries.parse(path.read_bytes()) for path in place.glob(".phi4audio/*.journal")]
    assert sum(len(pages.answers()) for pages in left) == 4
    done = run(0)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) == len(whole.requests) - 4
    found = {name: said for name, said in outputs("out").items() if name not in torn}
    assert found == outputs("whole")
