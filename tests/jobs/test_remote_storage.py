"""Files behind a URL appear whole or not at all; what goes wrong is said in words for people."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from phi4audio_cli import storage
from phi4audio_cli.errors import ExitCode, OutputError, UsageError
from phi4audio_cli.jobs.input_source import InputSource
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.jobs.output_paths import plan_jobs, remove_temporary_files, write_outputs
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.pipeline.output_writer import outdated_outputs
from phi4audio_cli.storage import RemotePath, check_location, read_bytes
from phi4audio_cli.text.cues import DEFAULT_STYLE
from phi4audio_cli.types import Job, Metadata, Segment, Transcript

from .input_helpers import local_source
from .input_helpers import remote_source as behind

RESULT = Transcript("one", None, (Segment(0, 0, 1, "one é", "chunk"),), 1.0, "Transcribe.")
METADATA = Metadata("talk.wav", "demo", "0.1.0")


@pytest.fixture
def folder(system) -> RemotePath:
    return RemotePath(f"{system.protocol}://calls/out")


def job_in(folder: RemotePath, *formats: str) -> Job:
    outputs = {each: folder / "deep" / f"talk.{each}" for each in formats or ("txt", "json")}
    return Job(0, Path("talk.wav"), outputs)


# Writing.


def test_outputs_are_written_whole_and_over_old_ones(folder, system) -> None:
    job = job_in(folder)
    write_outputs(job, Transcript("old", None, (), 1.0, ""), METADATA)
    write_outputs(job, RESULT, METADATA)
    assert list(system.content()) == ["/calls/out/deep/talk.json", "/calls/out/deep/talk.txt"]
    assert read_bytes(job.outputs["txt"]) == "one é\n".encode()


@pytest.mark.parametrize("old", [b"the old one", None])
@pytest.mark.parametrize("operation", ["pipe_file", "mv"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), RuntimeError("throttled")])
def test_a_failure_leaves_nothing_half(folder, system, operation, error, old) -> None:
    if operation == "mv" and system.protocol == "bucket":
        return  # nothing is renamed there
    job = job_in(folder, "txt")
    if old is not None:
        system().pipe_file("/calls/out/deep/talk.txt", old)
    before = system.content()
    system.faults[operation] = error
    with pytest.raises(OutputError, match=r"broken|RuntimeError: throttled") as caught:
        write_outputs(job, RESULT, METADATA)
    assert caught.value.where == str(job.outputs["txt"])
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert system.content() == before


def test_what_has_its_name_is_never_half(folder, system) -> None:
    """Look at every operation: only a put of an object store, or a rename, touches the name."""
    write_outputs(job_in(folder, "txt"), RESULT, METADATA)
    touching = [name for name, path in system.log if path == "talk.txt"]
    assert touching == (["pipe_file"] if system.protocol == "bucket" else ["mv"])


def test_a_file_system_that_cannot_rename_copies_without_taking_names_for_patterns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(storage, "ATOMIC_PUT_SCHEMES", frozenset())
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    folder = RemotePath("memory://calls[1]")
    for name in ("talk[2].txt", "what? #1.txt", "100%25.txt", "*.txt"):
        storage.write_remote(folder / name, name.encode())
        assert storage.read_remote(folder / name) == name.encode()
    assert storage.list_remote_names(folder) == {
        "talk[2].txt",
        "what? #1.txt",
        "100%25.txt",
        "*.txt",
    }


def test_several_outputs_are_put_at_the_same_time(folder, system, monkeypatch) -> None:
    if system.protocol != "bucket":
        return  # connections of other kinds are one
    meeting = threading.Barrier(3, timeout=20)
    put = system.pipe_file

    def meet(self, *arguments) -> None:
        meeting.wait()
        put(self, *arguments)

    monkeypatch.setattr(system, "pipe_file", meet)
    write_outputs(job_in(folder, "txt", "json", "srt"), RESULT, METADATA)
    assert len(system.content()) == 3


# Reading.


def test_only_what_is_missing_or_differs_is_stale(folder, system) -> None:
    job = job_in(folder, "txt", "json", "srt")
    write_outputs(job, RESULT, METADATA)
    system().pipe_file("/calls/out/deep/talk.txt", b"edited")
    system().rm("/calls/out/deep/talk.srt")
    assert set(outdated_outputs(job, RESULT, METADATA, DEFAULT_STYLE).outputs) == {"txt", "srt"}


def test_what_was_made_just_now_is_not_read_first(folder, system) -> None:
    job = job_in(folder)
    assert outdated_outputs(job, RESULT, METADATA, DEFAULT_STYLE, is_new=True) == job
    assert not system.log


def test_a_folder_that_is_not_there_is_empty(folder, system) -> None:
    assert storage.list_remote_names(folder) == set()
    with pytest.raises(FileNotFoundError):
        storage.read_remote(folder / "none")


# Names.


def test_names_are_settled_as_in_a_folder(tmp_path: Path, folder) -> None:
    def planned(inputs: list[InputSource], template: str | None = None) -> list[str]:
        jobs = plan_jobs(inputs, ["txt"], folder, template)
        return [str(job.outputs["txt"]).removeprefix(f"{folder}/") for job in jobs]

    here = [local_source(tmp_path / name) for name in ("x/a.mp3", "x/a.wav", "y/a.mp3", "y/b.wav")]
    assert planned(here) == ["x/a.mp3.txt", "x/a.wav.txt", "y/a.txt", "y/b.txt"]
    there = [behind("s3://calls/mon/a.mp3"), behind("s3://calls/tue/a.mp3")]
    assert planned(there) == ["mon/a.txt", "tue/a.txt"]
    assert planned(here, "{index}-{stem}.{format}")[0] == "1-a.txt"
    with pytest.raises(UsageError, match="would overwrite"):
        planned(here, "{stem}.{format}")


def test_the_report_goes_there_and_over_nothing(tmp_path: Path, folder, system) -> None:
    jobs = plan_jobs([local_source(tmp_path / "talk.wav")], ["txt"], folder)
    place = report_path(jobs, folder, None)
    assert place == folder / "report.json"
    Report(jobs, "transcribe", "demo").write(place)
    assert b'"schema_version"' in system.content()["/calls/out/report.json"]
    with pytest.raises(UsageError, match="recording or an output"):
        report_path(jobs, folder, folder / "talk.txt")
    taken = plan_jobs([local_source(tmp_path / "report.wav")], ["json"], folder)
    assert report_path(taken, folder, None) == folder / ".phi4audio" / "report.json"


# Before a model is loaded.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.org/out", "nothing can be written to https://"),
        ("nonsense://x/out", "nonsense:// is not known (give a folder, or an s3 or gs URL)"),
    ],
)
def test_a_scheme_that_is_of_no_use_is_refused(url: str, message: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError) as caught:
        check_location(RemotePath(url))
    assert message in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def missing(scheme: str) -> None:
        raise ImportError("s3fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(UsageError, match=r"s3:// needs more .*pip install 'phi4audio\[remote\]'"):
        check_location(RemotePath("s3://calls/out"))


def test_offline_nothing_is_reached_and_folders_are_fine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not reached offline"):
        check_location(RemotePath("s3://calls/out"), offline=True)
    check_location(tmp_path, offline=True)
    check_location(None, offline=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "bucket does not exist"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
        (RuntimeError("Unable to locate credentials"), "Unable to locate credentials"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_told_before_work(
    folder, system, error: Exception, message: str
) -> None:
    system.faults["pipe_file"] = error
    with (
        pytest.raises(OutputError, match=message) as caught,
        lock_output_dirs([folder], shared=False),
    ):
        raise AssertionError("work began")
    assert caught.value.where == str(folder)
    assert "credentials" in str(caught.value.remedy)


def test_jobs_there_are_not_kept_apart_and_clean_nothing_away(folder, system) -> None:
    system().pipe_file("/calls/out/.phi4audio-0123456789abcdef.tmp", b"another's")
    with lock_output_dirs(
        [folder], shared=False, on_alone=lambda: remove_temporary_files([folder])
    ):  # noqa: SIM117
        with lock_output_dirs([folder], shared=False):
            pass
    assert sorted(path.rpartition("/")[2] for path in system.content()) == [
        ".phi4audio-0123456789abcdef.tmp",
        "README.txt",
    ]
