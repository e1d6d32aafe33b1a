"""Journals: file names, local files and uploads."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from phi4audio_cli.jobs import journal
from phi4audio_cli.jobs.journal import (
    MAX_JOURNAL_NAME_BYTES,
    UPLOAD_DELAY_SECONDS,
    LocalJournal,
    RemoteJournal,
    journal_path,
    open_journal,
)
from phi4audio_cli.jobs.journal_entries import JournalEntries, read_journal
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.types import Job

HEADER = {"model": "m"}
REMOTE_KEY = "/calls/out/.phi4audio/talk.transcribe.journal"


# Names.


def test_a_journal_is_named_after_the_output_and_the_task(tmp_path: Path) -> None:
    def path(names: list[str], stem: str = "talk", task: str = "Transcribe") -> Path:
        outputs = {name: tmp_path / f"{stem}.{name}" for name in names}
        return journal_path(Job(0, Path("talk.wav"), outputs), task)

    expected = tmp_path / ".phi4audio" / "talk.transcribe.journal"
    assert path(["txt"]) == path(["srt", "txt"]) == expected
    assert path(["fr.srt", "de.srt"], task="Translate").name == "talk.fr+de.translate.journal"
    assert path(["fr.srt"], task="Translate") != path(["de.srt"], task="Translate")


def test_long_names_are_cut_and_stay_distinct(tmp_path: Path) -> None:
    names = set()
    for length in (120, 121):
        outputs = {"txt": tmp_path / f"{'ü' * length}.txt"}
        names.add(journal_path(Job(0, Path("talk.wav"), outputs), "Transcribe").name)
    assert len(names) == 2
    assert all(len(os.fsencode(name)) <= MAX_JOURNAL_NAME_BYTES + len(".journal") for name in names)


def test_recordings_named_by_a_template_have_distinct_journals(tmp_path: Path) -> None:
    jobs = [
        Job(index, Path(folder) / "x.wav", {"txt": tmp_path / f"{index}-as-txt"})
        for index, folder in enumerate("ab")
    ]
    jobs += [
        Job(2 + index, Path("x.wav"), {"txt": tmp_path / f"{2 + index}-as-txt"}, url=url)
        for index, url in enumerate(["https://a.org/x.wav", "https://b.org/x.wav?v=1"])
    ]
    assert len({journal_path(job, "Transcribe") for job in jobs}) == len(jobs)


# Local journals.


def write_local(path: Path, count: int) -> bytes:
    opened = open_journal(path)
    assert isinstance(opened, LocalJournal)
    opened.reset(HEADER)
    for number in range(count):
        opened.append("answer", {"key": str(number), "text": "tëxt\n"})
    opened.close()
    return path.read_bytes()


def test_a_torn_line_is_cut_off_before_entries_are_added(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "j"
    path.parent.mkdir()
    whole = write_local(path, 2)
    path.write_bytes(whole[:-3])
    opened = LocalJournal.open_exclusive(path)
    assert opened is not None
    assert list(opened.entries.answers()) == ["0"]
    opened.append("answer", {"key": "new"})
    opened.close()
    assert list(read_journal(path).answers()) == ["0", "new"]


def test_a_journal_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    first = LocalJournal.open_exclusive(tmp_path / "j")
    assert first is not None
    assert open_journal(tmp_path / "j") is None
    first.close()
    second = open_journal(tmp_path / "j")
    assert second is not None
    second.close()


def test_reset_removes_all_entries(tmp_path: Path) -> None:
    write_local(tmp_path / "j", 2)
    opened = LocalJournal.open_exclusive(tmp_path / "j")
    assert opened is not None
    opened.reset({"model": "n"})
    assert opened.entries == JournalEntries()
    opened.close()
    entries = read_journal(tmp_path / "j")
    assert (entries.header, entries.answers()) == ({"model": "n"}, {})


# Remote journals.


class FakeTimer(threading.Timer):
    """A timer that fires when a test calls `fire`."""

    started: list[FakeTimer]

    def start(self) -> None:
        assert self.interval == UPLOAD_DELAY_SECONDS
        self.started.append(self)

    def cancel(self) -> None:
        if self in self.started:
            self.started.remove(self)

    @classmethod
    def fire(cls) -> None:
        for each in list(cls.started):
            each.function(*each.args, **each.kwargs)


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> type[FakeTimer]:
    FakeTimer.started = []
    monkeypatch.setattr(journal.threading, "Timer", FakeTimer)
    return FakeTimer


@pytest.fixture
def location(remote_filesystem) -> RemotePath:
    return (
        RemotePath(f"{remote_filesystem.protocol}://calls/out")
        / ".phi4audio"
        / ("talk.transcribe.journal")
    )


@pytest.fixture
def remote(location: RemotePath, timer) -> RemoteJournal:
    opened = RemoteJournal.open(location)
    opened.reset(HEADER)
    return opened


def add(opened: RemoteJournal, *numbers: int) -> None:
    for number in numbers:
        opened.append("answer", {"key": f"key {number}", "text": f"text {number}"})


def uploaded(remote_filesystem) -> list[str]:
    data = remote_filesystem.content().get(REMOTE_KEY, b"")
    return [entry["text"] for entry in JournalEntries.parse(data).answers().values()]


def test_the_remote_journal_is_next_to_the_outputs(remote_filesystem, tmp_path: Path) -> None:
    folder = RemotePath(f"{remote_filesystem.protocol}://calls/out")
    job = Job(0, tmp_path / "talk.wav", {"txt": folder / "talk.txt"})
    path = journal_path(job, "Transcribe")
    assert str(path) == f"{remote_filesystem.protocol}:/{REMOTE_KEY}"
    assert read_journal(path).contents == ()
    assert isinstance(open_journal(path), RemoteJournal)


def test_answers_are_uploaded_together_after_the_delay(remote, remote_filesystem, timer) -> None:
    add(remote, 0, 1, 2)
    assert uploaded(remote_filesystem) == []
    timer.fire()
    assert uploaded(remote_filesystem) == ["text 0", "text 1", "text 2"]
    add(remote, 3)
    assert uploaded(remote_filesystem) == ["text 0", "text 1", "text 2"]
    timer.fire()
    assert uploaded(remote_filesystem)[-1] == "text 3"
    assert len([name for name, _ in remote_filesystem.log if name == "pipe_file"]) == 2
    assert not timer.started, "no upload without a new entry"


def test_a_result_is_uploaded_immediately_with_all_answers(
    remote, location, remote_filesystem, timer
) -> None:
    add(remote, 0)
    remote.append("done", {"kind": "Transcript"})
    assert not timer.started
    entries = read_journal(location)
    assert entries.header == HEADER
    assert entries.done == {"kind": "Transcript"}
    assert uploaded(remote_filesystem) == ["text 0"]


def test_close_uploads_the_remaining_answers(remote, remote_filesystem, timer) -> None:
    add(remote, 0)
    remote.close()
    assert uploaded(remote_filesystem) == ["text 0"]
    assert not timer.started


def test_a_journal_without_answers_is_not_uploaded(remote, remote_filesystem) -> None:
    remote.close()
    assert remote_filesystem.content() == {}


def test_uploads_are_sequential(remote, remote_filesystem, timer, monkeypatch) -> None:
    """A slow upload of an older state must not end after that of a newer one."""
    first_started, proceed = threading.Event(), threading.Event()
    write = journal.write_atomic

    def slow_first(path: RemotePath, data: bytes) -> None:
        if not first_started.is_set():
            first_started.set()
            assert proceed.wait(20)
        write(path, data)

    monkeypatch.setattr(journal, "write_atomic", slow_first)
    add(remote, 0)
    late = threading.Thread(target=timer.fire)
    late.start()
    assert first_started.wait(20)
    add(remote, 1)
    closing = threading.Thread(target=remote.close)
    closing.start()
    proceed.set()
    late.join()
    closing.join()
    assert uploaded(remote_filesystem) == ["text 0", "text 1"]


def test_a_damaged_journal_is_read_up_to_the_damage(
    remote, location, remote_filesystem, timer
) -> None:
    add(remote, 0, 1)
    remote.close()
    size = len(remote_filesystem.content()[REMOTE_KEY])
    remote_filesystem.store[REMOTE_KEY].truncate(size - 5)
    again = RemoteJournal.open(location)
    assert list(again.entries.answers()) == ["key 0"]
    add(again, 1)
    again.close()
    assert uploaded(remote_filesystem) == ["text 0", "text 1"]


def test_a_failed_upload_raises_on_the_next_entry_and_keeps_the_old_journal(
    remote, remote_filesystem, timer
) -> None:
    add(remote, 0)
    timer.fire()
    remote_filesystem.faults["pipe_file"] = RuntimeError("throttled")
    add(remote, 1)
    timer.fire()
    with pytest.raises(OSError, match="RuntimeError: throttled"):
        add(remote, 2)
    remote.close()
    assert uploaded(remote_filesystem) == ["text 0"]


def test_close_retries_a_failed_upload(remote, remote_filesystem, timer) -> None:
    add(remote, 0)
    remote_filesystem.faults["pipe_file"] = RuntimeError("throttled")
    timer.fire()
    remote_filesystem.faults.clear()
    remote.close()
    assert uploaded(remote_filesystem) == ["text 0"]


def test_a_result_that_cannot_be_uploaded_raises(remote, remote_filesystem) -> None:
    remote_filesystem.faults["pipe_file"] = OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="broken"):
        remote.append("done", {"kind": "Transcript"})


def test_a_missing_journal_without_permission_to_list_is_new(location, remote_filesystem) -> None:
    """S3 answers "forbidden" for a missing file if the user may not list the bucket."""
    remote_filesystem.faults["cat_file"] = PermissionError("forbidden")
    assert RemoteJournal.open(location).entries == JournalEntries()
