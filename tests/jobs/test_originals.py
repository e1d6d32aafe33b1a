"""Recordings behind a URL: those that are done and have not changed are not fetched again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.shelf import Shelf
from phi4audio_cli.location import RemotePath
from phi4audio_cli.types import Job, Transcript

IDENTITY = {"task": "Transcribe", "model": "m"}
TRANSCRIPT = Transcript("na", None, (), 2.0, "Transcribe.")


@pytest.fixture
def fetched_job(system) -> Job:
    system().pipe_file("/talks/talk.wav", b"sound")
    url = f"{system.protocol}://talks/talk.wav"
    outputs = {"txt": RemotePath(f"{system.protocol}://calls/out") / "talk.txt"}
    return Job(0, Path("talk.wav"), outputs, url=url)


def fetching(job: Job) -> Shelf:
    found = Shelf(lambda job: IDENTITY, fetched)
    with fetched(job) as source:
        found.begin(job, source)
    found.finish(job, TRANSCRIPT, [])
    return found


def test_what_has_not_changed_is_not_fetched_again(fetched_job, system) -> None:
    fetching(fetched_job)

    def refuse(job: Job) -> None:
        raise AssertionError("it was fetched")

    assert Shelf(lambda job: IDENTITY, refuse).finished(fetched_job) is not None


@pytest.mark.parametrize("sound", [b"noise", b"other sound"])
def test_what_has_changed_is_done_again(fetched_job, system, sound) -> None:
    fetching(fetched_job)
    system().pipe_file("/talks/talk.wav", sound)
    system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert Shelf(lambda job: IDENTITY, fetched).finished(fetched_job) is None


def test_what_was_written_again_with_the_same_bytes_is_done(fetched_job, system) -> None:
    fetching(fetched_job)
    system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert Shelf(lambda job: IDENTITY, fetched).finished(fetched_job) is not None


def test_where_no_time_is_known_the_bytes_are_compared(fetched_job, system, monkeypatch) -> None:
    monkeypatch.setattr(system, "modified", lambda self, path: 1 / 0)
    fetching(fetched_job)
    assert Shelf(lambda job: IDENTITY, fetched).finished(fetched_job) is not None
    system().pipe_file("/talks/talk.wav", b"noise")
    assert Shelf(lambda job: IDENTITY, fetched).finished(fetched_job) is None


def test_what_is_replaced_while_it_is_fetched_is_seen_as_changed(
    fetched_job, system, monkeypatch
) -> None:
    get = system.get_file

    def replace_after(self, place: str, path: str, **more) -> None:
        get(self, place, path, **more)
        system().pipe_file("/talks/talk.wav", b"noise")
        system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)

    with monkeypatch.context() as patch:
        patch.setattr(system, "get_file", replace_after)
        fetching(fetched_job)
    assert Shelf(lambda job: IDENTITY, fetched).finished(fetched_job) is None
