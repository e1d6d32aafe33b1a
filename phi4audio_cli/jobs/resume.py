"""The resume store: the journals of a run's recordings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from phi4audio_cli.jobs.fingerprint import (
    FetchRecording,
    SourceStat,
    file_digest,
    is_unchanged,
    source_stat,
)
from phi4audio_cli.jobs.journal import (
    Journal,
    JournalEntries,
    RemoteJournal,
    answer_from_json,
    answer_to_json,
    journal_path,
    read_journal,
    request_key,
    result_from_json,
    result_to_json,
    round_trip_result,
)
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.storage import ListingCache, error_reason
from phi4audio_cli.types import Generation, Job, Request, Result

Identity: TypeAlias = Mapping[str, Any]
"""What a recording's answers depend on besides its bytes."""


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    """What an earlier run made of a recording."""

    result: Result
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _OpenJournal:
    """An open journal, and the answers that were in it."""

    journal: Journal | RemoteJournal
    answers: Mapping[str, Mapping[str, Any]]
    source_stat: SourceStat | None = None
    """Size and time of change of a recording that was fetched, by its copy."""


class ResumeStore:
    """Remembers for the engine (it is a `Memory`), one journal a recording.

    A journal that doesn't fit is begun anew. One that can't be written costs the memory only: the
    recording is done all the same.

    Args:
        identity_of: What a recording's answers depend on besides its bytes.
        fetch: Gives a recording's file.
        fresh: Whether to forget what earlier runs left.
        on_notice: Told in a line what a user should know.
    """

    def __init__(
        self,
        identity_of: Callable[[Job], Identity],
        fetch: FetchRecording,
        *,
        fresh: bool = False,
        on_notice: Callable[[str], None] = lambda note: None,
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

    def trust(self, job: Job) -> None:
        """Forget nothing of a recording: what is there was left in this run."""
        self._trusted.add(job.index)

    def load_finished(self, job: Job) -> FinishedRecording | None:
        """Return what an earlier run made of a recording; None where it is not finished."""
        if self._ignores_journal(job):
            return None
        identity = self._identity_of(job)
        place = journal_path(job, identity["task"])
        may_be_there = job.index in self._trusted or self._listings.may_exist(place)
        pages = read_journal(place) if may_be_there else JournalEntries((), 0)
        if pages.header is None or pages.done is None:
            return None
        if pages.header != {**identity, "input": pages.header.get("input")}:
            return None
        return (
            _parse_finished(pages)
            if is_unchanged(job, self._fetch, pages.header, pages.done)
            else None
        )

    # For the engine.

    def open_recording(self, job: Job, source: Path) -> None:
        """Claim a recording and read what is known of it.

        Raises:
            ClaimedError: Another job works on it, or finished it since this one began.
        """
        try:
            header = {**self._identity_of(job), "input": file_digest(source)}
        except OSError:
            return  # opening it says why, in better words
        try:
            volume = replace(self._open_journal(job, header), source_stat=source_stat(job, source))
        except OSError as error:
            self._notify_unwritable(error)
            return
        with self._close_lock:
            self._open_journals[job.index] = volume
            if self._closed:  # the run was ended, and the thread that reads ahead not told yet
                self.release(job)

    def lookup(self, request: Request) -> Generation | None:
        """Return what was answered to a request in an earlier run."""
        volume = self._open_journals.get(request.job)
        if volume is None or not volume.answers:
            return None
        entry = volume.answers.get(request_key(request))
        return answer_from_json(entry, request) if entry else None

    def store(self, answer: Generation) -> None:
        """Keep an answer."""
        self._append(answer.request.job, "answer", lambda: answer_to_json(answer))

    # For who takes the engine's events.

    def finish(self, job: Job, result: Result, warnings: Sequence[str]) -> Result:
        """Keep a result and close the journal; return the result as it will be found again."""
        entry = {**result_to_json(result), "warnings": list(warnings)}
        volume = self._open_journals.get(job.index)
        if volume and volume.source_stat:
            entry["original"] = volume.source_stat
        self._append(job.index, "done", lambda: entry)
        self.release(job)
        return round_trip_result(result)

    def release(self, job: Job) -> None:
        """Close the journal of a recording that comes to nothing now."""
        if volume := self._open_journals.pop(job.index, None):
            volume.journal.close()

    def close(self) -> None:
        """Close the journals of all recordings under way; none is opened any more."""
        with self._close_lock:
            self._closed = True
            for volume in self._open_journals.values():
                volume.journal.close()
            self._open_journals.clear()

    def _open_journal(self, job: Job, header: Identity) -> _OpenJournal:
        place = journal_path(job, header["task"])
        journal: Journal | RemoteJournal | None = (
            Journal.open_exclusive(place) if isinstance(place, Path) else RemoteJournal.open(place)
        )
        if journal is None:
            raise RecordingLockedError("another job works on it", str(job.source))
        try:
            return self._load_journal(job, journal, header)
        except BaseException:
            journal.close()
            raise

    def _load_journal(
        self, job: Job, journal: Journal | RemoteJournal, header: Identity
    ) -> _OpenJournal:
        pages = journal.entries
        if self._ignores_journal(job) or pages.header != header:
            journal.reset(header)
            return _OpenJournal(journal, {})
        if _parse_finished(pages) is not None:
            raise RecordingLockedError("another job has done it meanwhile", str(job.source))
        if pages.done is not None:  # of another shape than results have now
            journal.reset(header)
        return _OpenJournal(journal, journal.entries.answers())

    def _ignores_journal(self, job: Job) -> bool:
        return self._fresh and job.index not in self._trusted

    def _append(self, index: int, kind: str, entry: Callable[[], Mapping[str, Any]]) -> None:
        volume = self._open_journals.get(index)
        if volume is None:
            return
        try:
            volume.journal.append(kind, entry())
        except OSError as error:
            # A line may be torn now, and nothing behind it would be believed.
            self._open_journals.pop(index).journal.close()
            self._notify_unwritable(error)

    def _notify_unwritable(self, error: OSError) -> None:
        if not self._notice_given:
            self._notice_given = True
            why = error_reason(error)
            self._on_notice(
                f"no journal can be kept ({why}): what is cut off now starts over later"
            )


def _parse_finished(pages: JournalEntries) -> FinishedRecording | None:
    done = pages.done
    if done is None:
        return None
    try:
        return FinishedRecording(result_from_json(done), tuple(done["warnings"]))
    except (KeyError, ValueError):  # another shape; versions tell most of them apart
        return None
