"""Concurrent writes of remote outputs, and restoring the outputs of finished recordings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from phi4audio_cli.errors import ModelError
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.pipeline import output_writer
from phi4audio_cli.pipeline.output_writer import (
    OutputWriter,
    RecordingWritten,
    restore_finished,
    write_concurrently,
)
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import Location, RemotePath, read_bytes, write_atomic
from phi4audio_cli.types import Event, FileDone, FileStarted, Job, Segment, Transcript

SETTINGS = Settings()


def done(folder: Location, index: int) -> FileDone:
    job = Job(index, Path("talk.wav"), {"txt": folder / f"{index}.txt"})
    said = Segment(0, 0.0, 1.0, f"text {index}", "chunk")
    return FileDone(job, Transcript(said.text, None, (said,), 1.0, "Transcribe."))


@pytest.fixture
def filing() -> Iterator[OutputWriter]:
    shelf = ResumeStore(lambda job: {"task": "Transcribe"}, lambda job: nullcontext(job.source))
    yield OutputWriter(SETTINGS, shelf)
    shelf.close()


@pytest.fixture
def folder(system) -> RemotePath:
    return RemotePath(f"{system.protocol}://calls/out")


def test_a_slow_put_does_not_hold_up_the_engine(folder, system, filing, monkeypatch) -> None:
    """The first put ends only when the engine has told of the last recording."""
    told_all = threading.Event()
    put = system.pipe_file

    def slow(self, *arguments) -> None:
        assert told_all.wait(30)
        put(self, *arguments)

    monkeypatch.setattr(system, "pipe_file", slow)

    def events() -> Iterator[Event]:
        for index in range(5):
            yield done(folder, index)
        told_all.set()

    filed = list(write_concurrently(events(), filing))
    assert [each.job.index for each in filed] == [0, 1, 2, 3, 4]
    assert [each.error for each in filed] == [None] * 5
    assert len(system.content()) == 5


def test_what_is_told_is_there(folder, system, filing) -> None:
    for told in write_concurrently(iter([done(folder, index) for index in range(20)]), filing):
        assert isinstance(told, RecordingWritten)
        assert system.content()[f"/calls/out/{told.job.index}.txt"]


def test_the_engine_waits_when_too_many_are_on_their_way(
    folder, system, filing, monkeypatch
) -> None:
    monkeypatch.setattr(output_writer, "MOST", 3)
    told: set[int] = set()

    def events() -> Iterator[Event]:
        for index in range(30):
            assert index - len(told) <= 4
            yield done(folder, index)

    for each in write_concurrently(events(), filing):
        told.add(each.job.index)
    assert told == set(range(30))


def test_other_news_does_not_wait(folder, system, filing, monkeypatch) -> None:
    go_on = threading.Event()
    put = system.pipe_file
    monkeypatch.setattr(
        system, "pipe_file", lambda self, *more: (go_on.wait(30), put(self, *more))[1]
    )
    started = FileStarted(done(folder, 1).job, 2.0)
    news = write_concurrently(iter([done(folder, 0), started]), filing)
    assert next(news) == started
    go_on.set()
    assert [each.job.index for each in news] == [0]


def test_an_error_of_the_engine_comes_after_what_was_done_before(folder, system, filing) -> None:
    def events() -> Iterator[Event]:
        yield done(folder, 0)
        yield done(folder, 1)
        raise ModelError("the device is lost")

    told: list[RecordingWritten] = []
    with pytest.raises(ModelError, match="device is lost"):
        told.extend(write_concurrently(events(), filing))
    assert [each.job.index for each in told] == [0, 1]
    assert len(system.content()) == 2


def test_one_that_cannot_be_written_is_told_and_the_others_are_done(
    folder, system, filing, monkeypatch
) -> None:
    put = system.pipe_file

    def fail_once(self, path: str, *more) -> None:
        if more[0].startswith(b"text 1"):
            raise OSError("throttled")
        put(self, path, *more)

    monkeypatch.setattr(system, "pipe_file", fail_once)
    filed = list(write_concurrently(iter([done(folder, index) for index in range(3)]), filing))
    assert [each.error is None for each in filed] == [True, False, True]


def test_here_each_is_filed_before_the_next_is_asked_for(tmp_path: Path, filing) -> None:
    def events() -> Iterator[Event]:
        for index in range(3):
            yield done(tmp_path, index)
            assert (tmp_path / f"{index}.txt").exists()

    assert [each.job.index for each in write_concurrently(events(), filing)] == [0, 1, 2]


# What an earlier run did.


@pytest.fixture
def shelf() -> ResumeStore:
    return ResumeStore(lambda job: {"task": "Transcribe"}, lambda job: nullcontext(job.source))


def jobs_in(folder: Location, source: Path, count: int) -> list[Job]:
    source.write_bytes(b"sound")
    return [Job(index, source, {"txt": folder / f"{index}.txt"}) for index in range(count)]


def test_where_there_is_nothing_one_listing_tells(tmp_path, folder, system, shelf) -> None:
    jobs = jobs_in(folder, tmp_path / "talk.wav", 50)
    assert list(restore_finished(jobs, shelf, OutputWriter(SETTINGS, shelf))) == [
        (job, None) for job in jobs
    ]
    assert [name for name, _ in system.log] == ["ls"]


@pytest.mark.parametrize("here", [True, False])
def test_what_is_done_is_brought_up_to_date_in_order(tmp_path, folder, shelf, here) -> None:
    place = tmp_path / "out" if here else folder
    jobs = jobs_in(place, tmp_path / "talk.wav", 50)
    filing = OutputWriter(SETTINGS, shelf)
    for job in jobs[::3]:
        shelf.begin(job, job.source)
        said = Segment(0, 0.0, 1.0, f"text {job.index}", "chunk")
        filing.handle(FileDone(job, Transcript(said.text, None, (said,), 1.0, "Transcribe.")))
    write_atomic(jobs[3].outputs["txt"], b"edited")
    seen = list(restore_finished(jobs, shelf, filing))
    assert [job for job, _ in seen] == jobs
    assert [filed is not None for _, filed in seen] == [job.index % 3 == 0 for job in jobs]
    written = [place for _, filed in seen if filed for place in filed.written]
    assert written == [jobs[3].outputs["txt"]]
    assert read_bytes(jobs[3].outputs["txt"]) == b"text 3\n"
