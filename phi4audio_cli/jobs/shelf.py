"""The journals of a run: what is known of its recordings, and where what comes is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from phi4audio_cli.jobs.fingerprint import file_digest
from phi4audio_cli.jobs.journal import Journal, Pages, read_pages
from phi4audio_cli.jobs.journal_path import journal_path
from phi4audio_cli.jobs.lock import ClaimedError
from phi4audio_cli.jobs.originals import Fetch, Original, is_same, original_of
from phi4audio_cli.jobs.records import (
    as_kept,
    pack_answer,
    pack_result,
    request_key,
    unpack_answer,
    unpack_result,
)
from phi4audio_cli.jobs.remote_journal import RemoteJournal
from phi4audio_cli.jobs.store import Listings
from phi4audio_cli.remote import reason
from phi4audio_cli.types import Generation, Job, Request, Result

Identity: TypeAlias = Mapping[str, Any]
"""What a recording's answers depend on besides its bytes."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What an earlier run made of a recording."""

    result: Result
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Volume:
    """An open journal, and the answers that were in it."""

    journal: Journal | RemoteJournal
    answers: Mapping[str, Mapping[str, Any]]
    original: Original | None = None
    """Size and time of change of a recording that was fetched, by its copy."""


class Shelf:
    """Remembers for the engine (it is a `Memory`), one journal a recording.

    A journal that doesn't fit is begun anew. One that can't be written costs the memory only: the
    recording is done all the same.

    Args:
        identity_of: What a recording's answers depend on besides its bytes.
        fetch: Gives a recording's file.
        fresh: Whether to forget what earlier runs left.
        on_note: Told in a line what a user should know.
    """

    def __init__(
        self,
        identity_of: Callable[[Job], Identity],
        fetch: Fetch,
        *,
        fresh: bool = False,
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        self._identity_of = identity_of
        self._fetch = fetch
        self._fresh = fresh
        self._on_note = on_note
        self._kept: set[int] = set()
        self._open: dict[int, _Volume] = {}
        self._listings = Listings()
        self._closing = threading.Lock()
        self._closed = False
        self._told = False

    def keep(self, job: Job) -> None:
        """Forget nothing of a recording: what is there was left in this run."""
        self._kept.add(job.index)

    def finished(self, job: Job) -> Finished | None:
        """Return what an earlier run made of a recording; None where it is not finished."""
        if self._is_fresh(job):
            return None
        identity = self._identity_of(job)
        place = journal_path(job, identity["task"])
        may_be_there = job.index in self._kept or self._listings.may_have(place)
        pages = read_pages(place) if may_be_there else Pages((), 0)
        if pages.header is None or pages.done is None:
            return None
        if pages.header != {**identity, "input": pages.header.get("input")}:
            return None
        return _finished(pages) if is_same(job, self._fetch, pages.header, pages.done) else None

    # For the engine.

    def begin(self, job: Job, source: Path) -> None:
        """Claim a recording and read what is known of it.

        Raises:
            ClaimedError: Another job works on it, or finished it since this one began.
        """
        try:
            header = {**self._identity_of(job), "input": file_digest(source)}
        except OSError:
            return  # opening it says why, in better words
        try:
            volume = replace(self._claim(job, header), original=original_of(job, source))
        except OSError as error:
            self._say(error)
            return
        with self._closing:
            self._open[job.index] = volume
            if self._closed:  # the run was ended, and the thread that reads ahead not told yet
                self.leave(job)

    def recall(self, request: Request) -> Generation | None:
        """Return what was answered to a request in an earlier run."""
        volume = self._open.get(request.job)
        if volume is None or not volume.answers:
            return None
        entry = volume.answers.get(request_key(request))
        return unpack_answer(entry, request) if entry else None

    def record(self, answer: Generation) -> None:
        """Keep an answer."""
        self._add(answer.request.job, "answer", lambda: pack_answer(answer))

    # For who takes the engine's events.

    def finish(self, job: Job, result: Result, warnings: Sequence[str]) -> Result:
        """Keep a result and close the journal; return the result as it will be found again."""
        entry = {**pack_result(result), "warnings": list(warnings)}
        volume = self._open.get(job.index)
        if volume and volume.original:
            entry["original"] = volume.original
        self._add(job.index, "done", lambda: entry)
        self.leave(job)
        return as_kept(result)

    def leave(self, job: Job) -> None:
        """Close the journal of a recording that comes to nothing now."""
        if volume := self._open.pop(job.index, None):
            volume.journal.close()

    def close(self) -> None:
        """Close the journals of all recordings under way; none is opened any more."""
        with self._closing:
            self._closed = True
            for volume in self._open.values():
                volume.journal.close()
            self._open.clear()

    def _claim(self, job: Job, header: Identity) -> _Volume:
        place = journal_path(job, header["task"])
        journal: Journal | RemoteJournal | None = (
            Journal.claim(place) if isinstance(place, Path) else RemoteJournal.claim(place)
        )
        if journal is None:
            raise ClaimedError("another job works on it", str(job.source))
        try:
            return self._read(job, journal, header)
        except BaseException:
            journal.close()
            raise

    def _read(self, job: Job, journal: Journal | RemoteJournal, header: Identity) -> _Volume:
        pages = journal.pages
        if self._is_fresh(job) or pages.header != header:
            journal.restart(header)
            return _Volume(journal, {})
        if _finished(pages) is not None:
            raise ClaimedError("another job has done it meanwhile", str(job.source))
        if pages.done is not None:  # of another shape than results have now
            journal.restart(header)
        return _Volume(journal, journal.pages.answers())

    def _is_fresh(self, job: Job) -> bool:
        return self._fresh and job.index not in self._kept

    def _add(self, index: int, kind: str, entry: Callable[[], Mapping[str, Any]]) -> None:
        volume = self._open.get(index)
        if volume is None:
            return
        try:
            volume.journal.add(kind, entry())
        except OSError as error:
            # A line may be torn now, and nothing behind it would be believed.
            self._open.pop(index).journal.close()
            self._say(error)

    def _say(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            why = reason(error)
            self._on_note(f"no journal can be kept ({why}): what is cut off now starts over later")


def _finished(pages: Pages) -> Finished | None:
    done = pages.done
    if done is None:
        return None
    try:
        return Finished(unpack_result(done), tuple(done["warnings"]))
    except (KeyError, ValueError):  # another shape; versions tell most of them apart
        return None
