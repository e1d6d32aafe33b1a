"""The resume store: the journals of a run's recordings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from phi4audio_cli.jobs.download import FetchRecording
from phi4audio_cli.jobs.fingerprint import SourceStat, file_digest, is_unchanged, source_stat
from phi4audio_cli.jobs.journal import Journal, journal_path, open_journal
from phi4audio_cli.jobs.journal_entries import (
    answer_from_json,
    answer_to_json,
    read_journal,
    request_key,
    result_from_json,
    result_to_json,
    round_trip_result,
)
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import error_reason, list_remote_names
from phi4audio_cli.types import Generation, Job, Request, Result

Identity: TypeAlias = Mapping[str, Any]
"""Everything a recording's answers depend on except its bytes."""


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    """The result of an earlier run for a recording."""

    result: Result
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _OpenJournal:
    """An open journal, and the answers found in it."""

    journal: Journal
    answers: Mapping[str, Mapping[str, Any]]
    source_stat: SourceStat | None = None
    """Size and modification time of the copy of a downloaded recording."""


class ResumeStore:
    """Stores the answers and results of a run (it is an `AnswerStore`), one journal per recording.

    A journal of other settings, or of another recording, starts over. Without a writable journal
    the recording is transcribed all the same, but can't be resumed.

    Args:
        identity_of: Returns everything a recording's answers depend on except its bytes.
        fetch: Opens a recording's file.
        fresh: Whether to ignore the journals of earlier runs.
        on_notice: Called with a line for the user.
    """

    def __init__(
        self,
        identity_of: Callable[[Job], Identity],
        fetch: FetchRecording,
        *,
        fresh: bool = False,
        on_notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._identity_of = identity_of
        self._fetch = fetch
        self._fresh = fresh
        self._on_notice = on_notice
        self._trusted: set[int] = set()
        self._open_journals: dict[int, _OpenJournal] = {}
        self._listings = ListingCache()
        self._close_lock = threading.Lock()
        self._closed = False
        self._notice_given = False
        self._version_notice_given = False

    def trust(self, job: Job) -> None:
        """Use a recording's journal even with `fresh`: this run has written it."""
        self._trusted.add(job.index)

    def load_finished(self, job: Job) -> FinishedRecording | None:
        """Return the result of an earlier run for a recording; None if it is not finished."""
        if self._ignores_journal(job):
            return None
        identity = self._identity_of(job)
        location = journal_path(job, identity["task"])
        if job.index not in self._trusted and not self._listings.may_exist(location):
            return None
        entries = read_journal(location)
        header, done = entries.header, entries.done
        if header is None or done is None or header != {**identity, "input": header.get("input")}:
            return None
        return _parse_finished(done) if is_unchanged(job, self._fetch, header, done) else None

    # Called by the pipeline.

    def open_recording(self, job: Job, source: Path) -> None:
        """Open a recording's journal, and read the answers in it.

        Raises:
            RecordingLockedError: Another job works on it, or has finished it since this one began.
        """
        try:
            header = {**self._identity_of(job), "input": file_digest(source)}
        except OSError:
            return  # the reader opens it next, and raises a clearer error
        try:
            opened = replace(self._open_journal(job, header), source_stat=source_stat(job, source))
        except OSError as error:
            self._notify_unwritable(error)
            return
        with self._close_lock:
            self._open_journals[job.index] = opened
            if self._closed:  # the run has ended, but the read-ahead thread has not stopped yet
                self.release(job)

    def lookup(self, request: Request) -> Generation | None:
        """Return the answer of an earlier run to a request; None if there is none."""
        opened = self._open_journals.get(request.job)
        if opened is None or not opened.answers:
            return None
        entry = opened.answers.get(request_key(request))
        return answer_from_json(entry, request) if entry else None

    def store(self, answer: Generation) -> None:
        """Store an answer."""
        self._append(answer.request.job, "answer", lambda: answer_to_json(answer))

    # Called by the output writer.

    def finish(self, job: Job, result: Result, warnings: Sequence[str]) -> Result:
        """Store a result and close the journal; return the result as a later run restores it."""
        entry = {**result_to_json(result), "warnings": list(warnings)}
        opened = self._open_journals.get(job.index)
        if opened and opened.source_stat:
            entry["original"] = opened.source_stat
        self._append(job.index, "done", lambda: entry)
        self.release(job)
        return round_trip_result(result)

    def release(self, job: Job) -> None:
        """Close the journal of a recording."""
        if opened := self._open_journals.pop(job.index, None):
            opened.journal.close()

    def close(self) -> None:
        """Close all journals; later calls of `open_recording` open none."""
        with self._close_lock:
            self._closed = True
            for opened in self._open_journals.values():
                opened.journal.close()
            self._open_journals.clear()

    def _open_journal(self, job: Job, header: Identity) -> _OpenJournal:
        journal = open_journal(journal_path(job, header["task"]))
        if journal is None:
            raise RecordingLockedError("another job works on it", str(job.source))
        try:
            return self._load_answers(job, journal, header)
        except BaseException:
            journal.close()
            raise

    def _load_answers(self, job: Job, journal: Journal, header: Identity) -> _OpenJournal:
        done = journal.entries.done
        self._notify_other_version(journal.entries.header, header)
        usable = not self._ignores_journal(job) and journal.entries.header == header
        if usable and done is not None and _parse_finished(done) is not None:
            raise RecordingLockedError("another job has finished it meanwhile", str(job.source))
        if not usable or done is not None:  # `done` of another structure
            journal.reset(header)
        return _OpenJournal(journal, journal.entries.answers())

    def _ignores_journal(self, job: Job) -> bool:
        return self._fresh and job.index not in self._trusted

    def _append(self, index: int, kind: str, entry: Callable[[], Mapping[str, Any]]) -> None:
        opened = self._open_journals.get(index)
        if opened is None:
            return
        try:
            opened.journal.append(kind, entry())
        except OSError as error:
            # The last line may be torn, and lines after it would be ignored.
            self._open_journals.pop(index).journal.close()
            self._notify_unwritable(error)

    def _notify_other_version(self, stored: Mapping[str, Any] | None, header: Identity) -> None:
        if stored is None or stored.get("phi4audio") == header.get("phi4audio"):
            return
        with self._close_lock:
            is_first, self._version_notice_given = not self._version_notice_given, True
        if is_first:
            self._on_notice(
                f"journals of phi4audio {stored.get('phi4audio')} can't be resumed by "
                f"{header.get('phi4audio')}: their recordings start over"
            )

    def _notify_unwritable(self, error: OSError) -> None:
        if not self._notice_given:
            self._notice_given = True
            self._on_notice(
                f"no journal can be written ({error_reason(error)}): "
                "an interrupted recording will start over"
            )


def _parse_finished(done: Mapping[str, Any]) -> FinishedRecording | None:
    try:
        return FinishedRecording(result_from_json(done), tuple(done["warnings"]))
    except (KeyError, ValueError):  # another structure; the version in the header tells most apart
        return None


class ListingCache:
    """Names of the files in remote folders; each folder is listed once."""

    def __init__(self) -> None:
        self._names_by_folder: dict[RemotePath, set[str] | None] = {}
        self._lock = threading.Lock()

    def may_exist(self, location: Location) -> bool:
        """Return whether a file may exist; always True for a local one."""
        if not isinstance(location, RemotePath):
            return True
        with self._lock:
            if location.parent not in self._names_by_folder:
                try:
                    self._names_by_folder[location.parent] = list_remote_names(location.parent)
                except OSError:
                    self._names_by_folder[location.parent] = None
            names = self._names_by_folder[location.parent]
        return names is None or location.name in names
