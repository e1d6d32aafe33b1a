"""The resume store: answers and results of earlier runs, local and remote."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from phi4audio_cli.jobs import journal
from phi4audio_cli.jobs.journal_entries import request_key
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.types import Job

from .journal_helpers import IDENTITY, TRANSCRIPT, answer, make_store, opened_store, request


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "talk.wav").write_bytes(b"sound")
    return Job(0, tmp_path / "talk.wav", {"txt": tmp_path / "out" / "talk.txt"})


@pytest.fixture
def remote_job(job: Job, remote_filesystem) -> Job:
    folder = RemotePath(f"{remote_filesystem.protocol}://calls/out")
    return replace(job, outputs={"txt": folder / "talk.txt"})


def store_and_close(job: Job, *starts: int, **options) -> None:
    store = opened_store(job, **options)
    for start in starts:
        store.store(answer(request(start)))
    store.close()


# Answers.


def test_an_answer_is_found_for_an_equal_request_only(job: Job) -> None:
    requests = [request(), request(50), request(label="fr", attempt="penalty")]
    first = opened_store(job)
    for each in requests:
        first.store(answer(each, request_key(each)))
    first.close()
    again = opened_store(job)
    for each in requests:
        equal = replace(each)
        found = again.lookup(equal)
        assert found is not None
        assert found.request is equal
        assert found.text == request_key(each)
    assert again.lookup(request(51)) is None
    again.close()


def test_answers_of_another_model_are_ignored_and_removed(job: Job) -> None:
    store_and_close(job, 0)
    other = opened_store(job, identity={**IDENTITY, "model": "other"})
    assert other.lookup(request()) is None
    other.close()
    again = opened_store(job)
    assert again.lookup(request()) is None, "the journal has started over"
    again.close()


def test_journals_of_another_version_start_over_with_one_line(job: Job, tmp_path: Path) -> None:
    (tmp_path / "second.wav").write_bytes(b"sound")
    second = Job(1, tmp_path / "second.wav", {"txt": tmp_path / "out" / "second.txt"})
    old = {**IDENTITY, "phi4audio": "0.1.0"}
    for each in (job, second):
        store_and_close(each, 0, identity=old)
    lines: list[str] = []
    store = make_store(identity={**IDENTITY, "phi4audio": "9.0"}, on_notice=lines.append)
    for each in (job, second):
        store.open_recording(each, each.source)
        assert store.lookup(replace(request(), job=each.index)) is None
    store.close()
    assert lines == [
        "journals of phi4audio 0.1.0 can't be resumed by 9.0: their recordings start over"
    ]


def test_fresh_ignores_answers(job: Job) -> None:
    store_and_close(job, 0)
    fresh = opened_store(job, fresh=True)
    assert fresh.lookup(request()) is None
    fresh.close()


# Results.


def test_a_result_is_restored_with_its_warnings(job: Job) -> None:
    stored = opened_store(job).finish(job, TRANSCRIPT, ["damaged"])
    finished = make_store().load_finished(job)
    assert finished is not None
    assert finished.result == stored == TRANSCRIPT
    assert finished.warnings == ("damaged",)
    assert repr(finished.result) == repr(stored)  # an int restored as float looks different


def test_a_result_is_valid_until_something_it_depends_on_changes(job: Job) -> None:
    opened_store(job).finish(job, TRANSCRIPT, ())
    assert make_store().load_finished(job) is not None
    assert make_store(fresh=True).load_finished(job) is None
    assert make_store({**IDENTITY, "model": "other"}).load_finished(job) is None
    assert make_store({**IDENTITY, "settings": {"vad": False}}).load_finished(job) is None
    job.source.write_bytes(b"other")
    assert make_store().load_finished(job) is None
    job.source.unlink()
    assert make_store().load_finished(job) is None


# Locks.


def test_a_recording_is_locked_until_it_is_finished(job: Job) -> None:
    first = opened_store(job)
    with pytest.raises(RecordingLockedError, match="another job works on it"):
        opened_store(job)
    first.finish(job, TRANSCRIPT, ())
    with pytest.raises(RecordingLockedError, match="has finished it meanwhile"):
        opened_store(job)


def test_a_closed_store_locks_no_recording(job: Job) -> None:
    first = make_store()
    first.close()
    first.open_recording(job, job.source)
    first.store(answer(request()))
    other = opened_store(job)
    assert other.lookup(request()) is None
    other.close()


# Write errors.


def test_a_full_disk_ends_the_journal_but_not_the_recording(job: Job, monkeypatch) -> None:
    notices: list[str] = []
    first = opened_store(job, on_notice=notices.append)
    first.store(answer(request(1)))
    monkeypatch.setattr(journal, "SYNC_SECONDS", 0.0)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for start in (2, 3):
        first.store(answer(request(start)))
    assert first.finish(job, TRANSCRIPT, ()) == TRANSCRIPT
    assert len(notices) == 1
    assert "No space left" in notices[0]
    again = opened_store(job)
    assert again.lookup(request(1)) is not None
    assert make_store().load_finished(job) is None
    again.close()


def test_without_a_writable_folder_the_recording_is_still_finished(job: Job) -> None:
    (job.outputs["txt"].parent).write_text("a file")
    notices: list[str] = []
    store = opened_store(job, on_notice=notices.append)
    store.store(answer(request()))
    assert store.finish(job, TRANSCRIPT, ()) == TRANSCRIPT
    assert len(notices) == 1


# Remote journals.


def test_a_remote_result_is_restored(remote_job: Job) -> None:
    store = opened_store(remote_job)
    store.store(answer(request()))
    stored = store.finish(remote_job, TRANSCRIPT, ["damaged"])
    finished = make_store().load_finished(remote_job)
    assert finished is not None
    assert (finished.result, finished.warnings) == (stored, ("damaged",))
    assert make_store({**IDENTITY, "model": "other"}).load_finished(remote_job) is None


@pytest.mark.parametrize("release", [lambda s, job: s.release(job), lambda s, job: s.close()])
def test_remote_answers_are_found_after_a_release(remote_job: Job, release) -> None:
    store = opened_store(remote_job)
    store.store(answer(request(0), "text"))
    release(store, remote_job)
    again = opened_store(remote_job)
    found = again.lookup(request(0))
    assert found is not None
    assert found.text == "text"
    assert again.lookup(request(100)) is None
    again.close()


def test_a_remote_result_of_another_job_is_kept(remote_job: Job) -> None:
    opened_store(remote_job).finish(remote_job, TRANSCRIPT, [])
    with pytest.raises(RecordingLockedError, match="finished it meanwhile"):
        opened_store(remote_job)


def test_failed_uploads_give_one_notice(remote_job: Job, remote_filesystem) -> None:
    notices: list[str] = []
    store = opened_store(remote_job, on_notice=notices.append)
    remote_filesystem.faults["pipe_file"] = RuntimeError("throttled")
    store.store(answer(request(0)))
    store.finish(remote_job, TRANSCRIPT, [])
    assert notices == [
        "no journal can be written (RuntimeError: throttled): "
        "an interrupted recording will start over"
    ]
    remote_filesystem.faults.clear()
    assert make_store().load_finished(remote_job) is None


def test_an_unreadable_remote_journal_is_reported_and_not_replaced(
    remote_job: Job, remote_filesystem
) -> None:
    opened_store(remote_job).finish(remote_job, TRANSCRIPT, [])
    before = remote_filesystem.content()
    notices: list[str] = []
    remote_filesystem.faults["cat_file"] = RuntimeError("no network")
    store = make_store(on_notice=notices.append)
    assert store.load_finished(remote_job) is None
    store.open_recording(remote_job, remote_job.source)
    store.store(answer(request(0)))
    store.close()
    assert "no network" in notices[0]
    assert remote_filesystem.content() == before


def test_without_permission_to_list_a_recording_starts_over(
    remote_job: Job, remote_filesystem
) -> None:
    forbidden = PermissionError("forbidden")
    remote_filesystem.faults["cat_file"] = remote_filesystem.faults["ls"] = forbidden
    assert make_store().load_finished(remote_job) is None
    opened_store(remote_job).finish(remote_job, TRANSCRIPT, [])
    remote_filesystem.faults.clear()
    assert make_store().load_finished(remote_job) is not None


# Listings.


def test_with_a_late_listing_a_finished_recording_is_not_repeated(
    remote_job: Job, remote_filesystem
) -> None:
    remote_filesystem.late["/calls/out/.phi4audio"] = []
    opened_store(remote_job).finish(remote_job, TRANSCRIPT, [])
    store = make_store()
    assert store.load_finished(remote_job) is None
    with pytest.raises(RecordingLockedError, match="finished it meanwhile"):
        store.open_recording(remote_job, remote_job.source)


def test_a_trusted_journal_is_read_despite_the_listing(remote_job: Job, remote_filesystem) -> None:
    """A worker that died in this run has written it after the folder was listed."""
    remote_filesystem.late["/calls/out/.phi4audio"] = []
    opened_store(remote_job).finish(remote_job, TRANSCRIPT, [])
    store = make_store(fresh=True)
    store.trust(remote_job)
    assert store.load_finished(remote_job) is not None
