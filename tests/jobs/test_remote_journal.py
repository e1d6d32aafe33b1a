"""Journals behind a URL: put as a whole, soon after an answer; a kill costs what is not put yet."""

from __future__ import annotations

import errno
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from phi4audio_cli.jobs import journal
from phi4audio_cli.jobs.journal import (
    UPLOAD_DELAY_SECONDS,
    JournalEntries,
    RemoteJournal,
    journal_path,
    read_journal,
)
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.storage import RemotePath
from phi4audio_cli.types import WIDE_BAND, Chunk, Generation, Job, Request, Segment, Transcript

IDENTITY = {"task": "Transcribe", "model": "m"}
TRANSCRIPT = Transcript("na", None, (Segment(0, 0.1, 1 / 3, "na", "chunk"),), 2.0, "Transcribe.")
JOURNAL = "/calls/out/.phi4audio/talk.transcribe.journal"


class Clock(threading.Timer):
    """A timer that goes off when a test says so."""

    set: list[Clock]

    def start(self) -> None:
        assert self.interval == UPLOAD_DELAY_SECONDS
        self.set.append(self)

    def cancel(self) -> None:
        if self in self.set:
            self.set.remove(self)

    @classmethod
    def pass_time(cls) -> None:
        for each in list(cls.set):
            each.function(*each.args, **each.kwargs)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    Clock.set = []
    monkeypatch.setattr(journal.threading, "Timer", Clock)
    return Clock


@pytest.fixture
def job(tmp_path: Path, system) -> Job:
    (tmp_path / "talk.wav").write_bytes(b"sound")
    folder = RemotePath(f"{system.protocol}://calls/out")
    return Job(0, tmp_path / "talk.wav", {"txt": folder / "talk.txt"})


def make_store(**more) -> ResumeStore:
    return ResumeStore(lambda job: IDENTITY, lambda job: nullcontext(job.source), **more)


def opened_store(job: Job, **more) -> ResumeStore:
    found = make_store(**more)
    found.open_recording(job, job.source)
    return found


def request(start: int) -> Request:
    return Request(0, Chunk(0, np.zeros(100, np.float32), WIDE_BAND, start), "prompt", 10)


def answer(start: int) -> Generation:
    return Generation(request(start), f"text {start}", (5, 6), (-0.1, -1 / 3), "stop")


def kept(system) -> list[str]:
    data = system.content().get(JOURNAL, b"")
    return [entry["text"] for entry in JournalEntries.parse(data).answers().values()]


# What is put, and when.


def test_answers_are_put_together_after_a_while(job, system, clock) -> None:
    found = opened_store(job)
    for start in (0, 100, 200):
        found.store(answer(start))
    assert kept(system) == []
    clock.pass_time()
    assert kept(system) == ["text 0", "text 100", "text 200"]
    found.store(answer(300))
    assert kept(system) == ["text 0", "text 100", "text 200"]
    clock.pass_time()
    assert kept(system)[-1] == "text 300"
    assert len([name for name, _ in system.log if name == "pipe_file"]) == 2
    assert not clock.set, "nothing is put where nothing is new"


def test_a_result_is_put_at_once_with_all_answers(job, system, clock) -> None:
    found = opened_store(job)
    found.store(answer(0))
    result = found.finish(job, TRANSCRIPT, ["damaged"])
    assert not clock.set
    again = make_store().load_finished(job)
    assert (again.result, again.warnings) == (result, ("damaged",))
    assert kept(system) == ["text 0"]


@pytest.mark.parametrize("leave", [lambda found, job: found.leave(job), lambda f, job: f.close()])
def test_what_was_answered_is_put_when_a_recording_is_left(job, system, clock, leave) -> None:
    found = opened_store(job)
    found.store(answer(0))
    leave(found, job)
    assert kept(system) == ["text 0"]
    assert not clock.set


def test_a_recording_without_answers_costs_no_put(job, system, clock) -> None:
    opened_store(job).close()
    assert system.content() == {}


def test_puts_come_one_after_the_other(job, system, clock, monkeypatch) -> None:
    """A slow put of an older state must not end after that of a newer one."""
    begun_first, go_on = threading.Event(), threading.Event()
    write = journal.write_atomic

    def put(place: RemotePath, data: bytes) -> None:
        if not begun_first.is_set():
            begun_first.set()
            assert go_on.wait(20)
        write(place, data)

    monkeypatch.setattr(journal, "write", put)
    found = opened_store(job)
    found.store(answer(0))
    late = threading.Thread(target=clock.pass_time)
    late.start()
    assert begun_first.wait(20)
    found.store(answer(100))
    closing = threading.Thread(target=found.close)
    closing.start()
    go_on.set()
    late.join()
    closing.join()
    assert kept(system) == ["text 0", "text 100"]


# Going on.


def test_the_next_run_recalls_what_was_put_and_no_more(job, system, clock) -> None:
    killed = opened_store(job)
    killed.store(answer(0))
    clock.pass_time()
    killed.store(answer(100))
    found = opened_store(job)
    assert found.lookup(request(0)).text == "text 0"
    assert found.lookup(request(100)) is None
    found.store(answer(100))
    found.finish(job, TRANSCRIPT, [])
    assert kept(system) == ["text 0", "text 100"]


def test_other_answers_are_forgotten(job, system, clock) -> None:
    opened_store(job).finish(job, TRANSCRIPT, [])
    changed = ResumeStore(
        lambda job: {**IDENTITY, "model": "n"}, lambda job: nullcontext(job.source)
    )
    assert changed.load_finished(job) is None
    changed.open_recording(job, job.source)
    changed.store(answer(100))
    changed.close()
    assert kept(system) == ["text 100"]


def test_a_damaged_journal_is_believed_up_to_the_damage(job, system, clock) -> None:
    found = opened_store(job)
    found.store(answer(0))
    found.store(answer(100))
    found.close()
    data = system.content()[JOURNAL]
    system.store[JOURNAL].truncate(len(data) - 5)
    again = opened_store(job)
    assert again.lookup(request(0)) is not None
    assert again.lookup(request(100)) is None
    again.store(answer(100))
    again.close()
    assert kept(system) == ["text 0", "text 100"]


def test_what_another_job_did_meanwhile_is_left_to_it(job, system, clock) -> None:
    opened_store(job).finish(job, TRANSCRIPT, [])
    with pytest.raises(RecordingLockedError, match="done it meanwhile"):
        opened_store(job)


# What goes wrong.


def test_a_put_that_fails_is_told_once_and_leaves_the_old_journal(job, system, clock) -> None:
    notes: list[str] = []
    found = opened_store(job, on_note=notes.append)
    found.store(answer(0))
    clock.pass_time()
    system.faults["pipe_file"] = RuntimeError("throttled")
    found.store(answer(100))
    clock.pass_time()
    found.store(answer(200))
    found.store(answer(300))
    found.finish(job, TRANSCRIPT, [])
    assert notes == ["no journal can be kept (RuntimeError: throttled): "
                     "what is cut off now starts over later"]  # fmt: skip
    assert kept(system) == ["text 0"]


def test_what_could_not_be_put_is_tried_once_more(job, system, clock) -> None:
    found = opened_store(job)
    found.store(answer(0))
    system.faults["pipe_file"] = RuntimeError("throttled")
    clock.pass_time()
    system.faults.clear()
    found.close()
    assert kept(system) == ["text 0"]


def test_a_result_that_cannot_be_put_is_told(job, system, clock) -> None:
    notes: list[str] = []
    found = opened_store(job, on_note=notes.append)
    system.faults["pipe_file"] = OSError(errno.EIO, "broken")
    found.finish(job, TRANSCRIPT, [])
    assert len(notes) == 1
    system.faults.clear()
    assert make_store().load_finished(job) is None


def test_a_journal_that_cannot_be_read_is_told_and_not_written_over(job, system, clock) -> None:
    opened_store(job).finish(job, TRANSCRIPT, [])
    before = system.content()
    notes: list[str] = []
    system.faults["cat_file"] = RuntimeError("no network")
    found = make_store(on_note=notes.append)
    assert found.load_finished(job) is None
    found.open_recording(job, job.source)
    found.store(answer(0))
    found.close()
    assert "no network" in notes[0]
    assert system.content() == before


def test_who_may_not_list_begins_anew(job, system, clock) -> None:
    """S3 refuses what isn't there to whoever may not list."""
    system.faults["cat_file"] = system.faults["ls"] = PermissionError("forbidden")
    assert make_store().load_finished(job) is None
    opened_store(job).finish(job, TRANSCRIPT, [])
    system.faults.clear()
    assert make_store().load_finished(job) is not None


# Listings.


def test_a_listing_that_is_late_does_nothing_twice(job, system, clock) -> None:
    system.late["/calls/out/.phi4audio"] = []
    opened_store(job).finish(job, TRANSCRIPT, [])
    found = make_store()
    assert found.load_finished(job) is None
    with pytest.raises(RecordingLockedError, match="done it meanwhile"):
        found.open_recording(job, job.source)


def test_what_a_worker_left_that_died_in_this_run_is_found_in_spite_of_the_listing(
    job, system, clock
) -> None:
    system.late["/calls/out/.phi4audio"] = []
    opened_store(job).finish(job, TRANSCRIPT, [])
    found = make_store(fresh=True)
    found.trust(job)
    assert found.load_finished(job) is not None


def test_the_journal_s_place_is_beside_the_outputs(job, system) -> None:
    place = journal_path(job, "Transcribe")
    assert str(place) == f"{system.protocol}:/{JOURNAL}"
    assert read_journal(place).contents == ()
    assert isinstance(RemoteJournal.open(place), RemoteJournal)
