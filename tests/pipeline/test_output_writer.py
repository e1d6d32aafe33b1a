"""Outputs are rendered once, written where they differ, and remote ones concurrently."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from phi4audio_cli.errors import ModelError
from phi4audio_cli.jobs.resume import FinishedRecording, ResumeStore
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.pipeline import output_writer as output_writer_module
from phi4audio_cli.pipeline.output_writer import (
    OutputWriter,
    RecordingWritten,
    outdated_outputs,
    render_all,
    restore_finished,
    write_concurrently,
)
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import read_bytes, write_atomic
from phi4audio_cli.types import (
    Event,
    FileDone,
    FileStarted,
    Job,
    Metadata,
    Segment,
    Transcript,
    Translation,
    Translations,
)

SETTINGS = Settings()


METADATA = Metadata("talk.wav", "demo", "0.1.0")


def transcript(text: str) -> Transcript:
    segment = Segment(0, 0.0, 1.0, text, "chunk")
    return Transcript(text, None, (segment,), 1.0, "Transcribe.")


def done(folder: Location, index: int) -> FileDone:
    job = Job(index, Path("talk.wav"), {"txt": folder / f"{index}.txt"})
    return FileDone(job, transcript(f"text {index}"))


def make_resume_store() -> ResumeStore:
    return ResumeStore(lambda job: {"task": "Transcribe"}, lambda job: nullcontext(job.source))


@pytest.fixture
def output_writer() -> Iterator[OutputWriter]:
    resume_store = make_resume_store()
    yield OutputWriter(SETTINGS, resume_store)
    resume_store.close()


@pytest.fixture
def folder(remote_filesystem) -> RemotePath:
    return RemotePath(f"{remote_filesystem.protocol}://calls/out")


# Contents.


@pytest.mark.parametrize("formats", [("txt",), ("txt", "json", "srt")])
def test_each_output_is_rendered_once_and_only_outdated_ones_are_written(
    tmp_path: Path, output_writer, monkeypatch, formats: tuple[str, ...]
) -> None:
    rendered: list[str] = []
    render = output_writer_module.render

    def count(output_format, *arguments):
        rendered.append(output_format)
        return render(output_format, *arguments)

    monkeypatch.setattr(output_writer_module, "render", count)
    job = Job(0, Path("talk.wav"), {each: tmp_path / f"talk.{each}" for each in formats})
    first = output_writer.handle(FileDone(job, transcript("one")))
    assert sorted(rendered) == sorted(formats)
    assert first.written == tuple(job.outputs.values())
    job.outputs["txt"].write_text("edited")
    second = output_writer.restore(job, FinishedRecording(transcript("one"), ()))
    assert second.written == (job.outputs["txt"],)
    assert job.outputs["txt"].read_text() == "one\n"
    assert sorted(rendered) == sorted(formats * 2)


def test_outputs_contain_the_variants_of_a_result(tmp_path: Path) -> None:
    each = [
        Translation(text, name, code, transcript(text).segments, 1.0, "p")
        for text, name, code in (("un", "French", "fr"), ("eins", "German", "de"))
    ]
    job = Job(0, Path("talk.wav"), {key: tmp_path / key for key in ("de.txt", "fr.txt")})
    contents = render_all(job, Translations(tuple(each), 1.0), METADATA)
    assert contents == {tmp_path / "de.txt": b"eins\n", tmp_path / "fr.txt": b"un\n"}


def test_names_in_another_encoding_are_written(tmp_path: Path) -> None:
    metadata = Metadata(os.fsdecode(b"caf\xe9.wav"), "demo", "0.1.0")
    job = Job(0, Path("talk.wav"), {"json": tmp_path / "talk.json"})
    [data] = render_all(job, transcript("one"), metadata).values()
    assert os.fsencode(json.loads(data)["source"]) == b"caf\xe9.wav"


def test_missing_and_edited_files_are_outdated(folder, remote_filesystem) -> None:
    contents = {folder / name: name.encode() for name in ("current", "edited", "missing")}
    write_atomic(folder / "current", b"current")
    write_atomic(folder / "edited", b"by hand")
    assert list(outdated_outputs(contents)) == [folder / "edited", folder / "missing"]


def test_new_remote_outputs_are_written_without_reading(
    folder, remote_filesystem, output_writer
) -> None:
    output_writer.handle(done(folder, 0))
    assert "cat_file" not in [name for name, _ in remote_filesystem.log]


def test_a_result_is_stored_before_its_outputs_are_written(tmp_path: Path) -> None:
    resume_store = make_resume_store()
    job = jobs_in(tmp_path / "out", tmp_path / "talk.wav", 1)[0]
    resume_store.open_recording(job, job.source)
    job.outputs["txt"].mkdir()
    event = OutputWriter(SETTINGS, resume_store).handle(FileDone(job, transcript("one")))
    assert isinstance(event, RecordingWritten)
    assert event.error is not None
    assert event.written == ()
    finished = make_resume_store().load_finished(job)
    assert finished is not None
    assert finished.result == transcript("one")


# Concurrent writes.


def test_a_slow_upload_does_not_block_the_pipeline(
    folder, remote_filesystem, output_writer, monkeypatch
) -> None:
    """The first upload ends only after the last event of the pipeline."""
    all_taken = threading.Event()
    put = remote_filesystem.pipe_file

    def slow(self, *arguments) -> None:
        assert all_taken.wait(30)
        put(self, *arguments)

    monkeypatch.setattr(remote_filesystem, "pipe_file", slow)

    def events() -> Iterator[Event]:
        for index in range(5):
            yield done(folder, index)
        all_taken.set()

    written = list(write_concurrently(events(), output_writer))
    assert [each.job.index for each in written] == [0, 1, 2, 3, 4]
    assert [each.error for each in written] == [None] * 5
    assert len(remote_filesystem.content()) == 5


def test_outputs_exist_when_their_event_is_reported(
    folder, remote_filesystem, output_writer
) -> None:
    events = [done(folder, index) for index in range(20)]
    for event in write_concurrently(events, output_writer):
        assert isinstance(event, RecordingWritten)
        assert remote_filesystem.content()[f"/calls/out/{event.job.index}.txt"]


def test_the_pipeline_pauses_while_too_many_recordings_are_pending(
    folder, remote_filesystem, output_writer, monkeypatch
) -> None:
    monkeypatch.setattr(output_writer_module, "MAX_PENDING", 3)
    reported: set[int] = set()

    def events() -> Iterator[Event]:
        for index in range(30):
            assert index - len(reported) <= 4
            yield done(folder, index)

    for each in write_concurrently(events(), output_writer):
        reported.add(each.job.index)
    assert reported == set(range(30))


def test_other_events_are_reported_immediately(
    folder, remote_filesystem, output_writer, monkeypatch
) -> None:
    proceed = threading.Event()
    put = remote_filesystem.pipe_file
    monkeypatch.setattr(
        remote_filesystem, "pipe_file", lambda self, *more: (proceed.wait(30), put(self, *more))[1]
    )
    started = FileStarted(done(folder, 1).job, 2.0)
    reported = write_concurrently([done(folder, 0), started], output_writer)
    assert next(reported) == started
    proceed.set()
    assert [each.job.index for each in reported] == [0]


def test_an_error_of_the_pipeline_is_raised_after_earlier_events(
    folder, remote_filesystem, output_writer
) -> None:
    def events() -> Iterator[Event]:
        yield done(folder, 0)
        yield done(folder, 1)
        raise ModelError("the device is lost")

    reported: list[RecordingWritten] = []
    with pytest.raises(ModelError, match="device is lost"):
        reported.extend(write_concurrently(events(), output_writer))
    assert [each.job.index for each in reported] == [0, 1]
    assert len(remote_filesystem.content()) == 2


def test_a_failed_upload_is_reported_and_the_others_are_written(
    folder, remote_filesystem, output_writer, monkeypatch
) -> None:
    put = remote_filesystem.pipe_file

    def fail_once(self, path: str, *more) -> None:
        if more[0].startswith(b"text 1"):
            raise OSError("throttled")
        put(self, path, *more)

    monkeypatch.setattr(remote_filesystem, "pipe_file", fail_once)
    events = [done(folder, index) for index in range(3)]
    written = list(write_concurrently(events, output_writer))
    assert [each.error is None for each in written] == [True, False, True]


def test_local_outputs_are_written_before_the_next_event(tmp_path: Path, output_writer) -> None:
    def events() -> Iterator[Event]:
        for index in range(3):
            yield done(tmp_path, index)
            assert (tmp_path / f"{index}.txt").exists()

    assert [each.job.index for each in write_concurrently(events(), output_writer)] == [0, 1, 2]


# Restoring finished recordings.


@pytest.fixture
def resume_store() -> ResumeStore:
    return make_resume_store()


def jobs_in(folder: Location, source: Path, count: int) -> list[Job]:
    source.write_bytes(b"sound")
    return [Job(index, source, {"txt": folder / f"{index}.txt"}) for index in range(count)]


def test_an_empty_remote_folder_is_listed_once(
    tmp_path, folder, remote_filesystem, resume_store
) -> None:
    jobs = jobs_in(folder, tmp_path / "talk.wav", 50)
    assert list(restore_finished(jobs, resume_store, OutputWriter(SETTINGS, resume_store))) == [
        (job, None) for job in jobs
    ]
    assert [name for name, _ in remote_filesystem.log] == ["ls"]


@pytest.mark.parametrize("local", [True, False])
def test_outputs_of_earlier_runs_are_brought_up_to_date_in_order(
    tmp_path, folder, resume_store, local
) -> None:
    jobs = jobs_in(tmp_path / "out" if local else folder, tmp_path / "talk.wav", 50)
    output_writer = OutputWriter(SETTINGS, resume_store)
    for job in jobs[::3]:
        resume_store.open_recording(job, job.source)
        output_writer.handle(FileDone(job, transcript(f"text {job.index}")))
    write_atomic(jobs[3].outputs["txt"], b"edited")
    restored = list(restore_finished(jobs, resume_store, output_writer))
    assert [job for job, _ in restored] == jobs
    assert [event is not None for _, event in restored] == [job.index % 3 == 0 for job in jobs]
    written = [path for _, event in restored if event for path in event.written]
    assert written == [jobs[3].outputs["txt"]]
    assert read_bytes(jobs[3].outputs["txt"]) == b"text 3\n"
