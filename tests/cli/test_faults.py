"""The fault table: injected faults and their outcomes; docs/batch-jobs.md shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from phi4audio_cli.cli.app import main
from phi4audio_cli.errors import FileError
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.storage import STATE_DIR
from phi4audio_cli.types import Generation, Request, RequestFailed
from tests.audio.scripted_recordings import open_scripted
from tests.factories import write_tone

from .fault_table import FAULTS, SAMPLES, TEXT, Fault, unchanged, wav

GOOD = "good.wav"


@dataclass(frozen=True)
class JobResult:
    """A job that is over."""

    code: int
    err: str
    files: Mapping[str, Mapping[str, Any]]
    """The report's entries by the recording's name."""
    totals: Mapping[str, Any]
    missing: Mapping[str, str]
    """Problems of the inputs that are not recordings, by their names."""

    def text(self, name: str) -> str:
        [path] = (path for path in self.files[name]["outputs"] if path.endswith(".txt"))
        return Path(path).read_text(encoding="utf-8").strip()


@contextmanager
def start_job(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the real command with the demo; a recording can be piped into it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "phi4audio_cli", "transcribe", "-o", "out",
         "--model", "demo", "--offline", "--device", "cpu", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PHI4AUDIO_VAD": "true", "PHI4AUDIO_READERS": "3", "COLUMNS": "400"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> JobResult:
    """One job over all of them, good ones among them; standard input is one."""
    folder = tmp_path_factory.mktemp("faults")
    for fault in FAULTS:
        fault.make(folder / fault.name)
    wav(unchanged)(folder / GOOD)
    names = [fault.name for fault in FAULTS]
    with start_job(folder, "--", "-", *names, GOOD) as process:
        # The run waits for its standard input: files that vanish now existed when it began.
        while not (folder / "out" / STATE_DIR / "lock").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        (folder / "vanishes.wav").unlink()
        _, err = process.communicate((SAMPLES / "short.flac").read_bytes())
    report = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    files = {each["source"]: each for each in report["files"]}
    for each in files.values():
        each["outputs"] = [str(folder / path) for path in each["outputs"]]
    missing = {each["source"]: each["error"] for each in report["missing"]}
    return JobResult(process.returncode, err.decode(), files, report["totals"], missing)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.injected)
def test_fault_has_the_expected_outcome(fault: Fault, ran: JobResult) -> None:
    if fault.outcome == "refused":
        assert fault.reason in ran.missing[fault.name]
        assert ran.missing[fault.name] in ran.err
        return
    entry = ran.files[fault.name]
    assert entry["status"] == fault.outcome, entry
    assert fault.reason in (entry["error"] or "; ".join(entry["warnings"])), entry
    if fault.outcome == "failed":
        assert not entry["outputs"]
        return
    assert all(Path(path).stat().st_size or fault.text == "" for path in entry["outputs"])
    assert ran.text(fault.name) == fault.text or (fault.text is None and ran.text(fault.name))


@pytest.mark.slow
def test_other_recordings_are_done_and_the_exit_code_is_10(ran: JobResult) -> None:
    assert ran.code == 10
    assert ran.text(GOOD) == ran.text("standard input") == TEXT
    assert ran.totals["missing"] == sum(fault.outcome == "refused" for fault in FAULTS)
    expected = {fault.outcome for fault in FAULTS} - {"refused"}
    for status in expected:
        good = 2 if status == "done" else 0
        assert ran.totals[status] == good + sum(f.outcome == status for f in FAULTS)
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_each_failure_is_printed_on_one_line(ran: JobResult) -> None:
    for fault in FAULTS:
        if fault.outcome == "failed":
            assert sum(line.startswith(f"phi4audio: {fault.name}: ") for line in
                       ran.err.splitlines()) == 1  # fmt: skip


# Faults that recordings can't cause: here the answers come from a script.


def transcribe(
    names: Sequence[str],
) -> tuple[int, Mapping[str, Mapping[str, Any]]]:
    """Transcribe tones; return the exit code and the report's entries."""
    for name in names:
        write_tone(Path(name), 4.0)
    with pytest.raises(SystemExit) as caught:
        main(["transcribe", *names, "-o", "out"])
    report = json.loads(Path("out/report.json").read_text(encoding="utf-8"))
    assert isinstance(caught.value.code, int)
    return caught.value.code, {each["source"]: each for each in report["files"]}


@pytest.mark.slow
def test_a_decoder_crash_fails_only_its_recording(tmp_path, monkeypatch, use_backend) -> None:
    monkeypatch.chdir(tmp_path)
    # The scripted decoder follows the names; a decoded block counts as damage.
    names = ["block-block.wav", "block-segfault-block.wav", "allocate.wav", "block.wav"]
    with SubprocessReader(InProcessReader(open_scripted)) as reader:
        use_backend(ScriptedBackend(lambda request: "well"), [reader])
        code, files = transcribe(names)
    assert code == 10
    assert [files[name]["status"] for name in names] == ["warnings", "failed", "failed", "warnings"]
    assert "the decoder crashed on it" in files["block-segfault-block.wav"]["error"]
    assert "memory" in files["allocate.wav"]["error"]


class NoMemoryBackend(ScriptedBackend):
    """Has no memory for the second recording, not even alone."""

    def generate(self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop):
        for answer in super().generate(requests, should_stop):
            error = FileError("it doesn't fit the memory", remedy="a smaller --chunk-seconds")
            yield RequestFailed(answer.request, error) if answer.request.job == 1 else answer


def test_out_of_memory_fails_only_its_recording(tmp_path, monkeypatch, use_backend) -> None:
    # How batches are halved: tests/model/test_oom.py.
    monkeypatch.chdir(tmp_path)
    names = ["a.wav", "b.wav", "c.wav"]
    use_backend(NoMemoryBackend(lambda request: "well"))
    code, files = transcribe(names)
    assert code == 10
    assert [files[name]["status"] for name in names] == ["done", "failed", "done"]
    assert "--chunk-seconds" in files["b.wav"]["error"]


LOOP = "and then " * 200


@pytest.mark.parametrize(
    ("again", "status", "flags", "tried"),
    [
        ("so it goes on", "done", [], ["first", "halves"]),
        (LOOP, "warnings", ["loop", "length"], ["first", "halves", "penalty"]),
    ],
)
def test_a_repetition_loop_is_retried_or_flagged(
    tmp_path, monkeypatch, use_backend, again: str, status: str, flags: list[str], tried: list[str]
) -> None:
    def answer(request: Request) -> Generation:
        text = LOOP if request.attempt == "first" else again
        return Generation(request, text, (1,), (-1.0,), "length" if text == LOOP else "stop")

    monkeypatch.chdir(tmp_path)
    use_backend(ScriptedBackend(answer))
    code, files = transcribe(["a.wav"])
    assert code == 0
    assert files["a.wav"]["status"] == status
    assert files["a.wav"]["retries"] == (2 if status == "done" else 4)
    segments = json.loads(Path("out/a.json").read_text(encoding="utf-8"))["segments"]
    for segment in segments:
        assert segment.get("flags", []) == flags
        assert sorted(segment["tried"]) == sorted(tried)
