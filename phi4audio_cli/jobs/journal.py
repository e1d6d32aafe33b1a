"""Journals: the answers and the result of one recording, stored so that a run can resume.

Entries are only appended. A local journal is a locked file; a remote one is uploaded as a whole.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from phi4audio_cli.file_lock import try_lock
from phi4audio_cli.jobs.journal_entries import JournalEntries, encode_line
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import STATE_DIR, read_bytes, short_digest, write_atomic
from phi4audio_cli.types import Job

MAX_JOURNAL_NAME_BYTES = 200
"""Maximum length of a journal's name without extension; file systems allow 255 bytes in all."""

SYNC_SECONDS = 1.0
"""Work lost at most by a power cut; a crash of the program loses none."""

UPLOAD_DELAY_SECONDS = 10.0
"""Age of an answer when it is uploaded: work lost at most by a killed process."""

_DIGEST_LENGTH = 16


class Journal(Protocol):
    """A journal that is open for writing."""

    @property
    def entries(self) -> JournalEntries:
        """The entries found when it was opened; none after `reset`."""
        ...

    def reset(self, header: Mapping[str, Any]) -> None:
        """Remove all entries, and write a new header.

        Raises:
            OSError: It can't be written.
        """
        ...

    def append(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add an entry.

        Raises:
            OSError: It, or an earlier one, can't be written; no further entry may be added.
        """
        ...

    def close(self) -> None:
        """Release the journal for other jobs."""
        ...


def journal_path(job: Job, task: str) -> Location:
    """Return the location of a recording's journal, in the folder of its first output."""
    key, path = next(iter(job.outputs.items()))
    if path.name.endswith(f".{key}"):
        stem = path.name.removesuffix(f".{key}")
    else:  # from a template; without its format, the name may be that of several recordings
        source = job.url or os.path.abspath(job.source)  # noqa: PTH100
        stem = f"{job.source.name}-{short_digest(source, _DIGEST_LENGTH)}"
    variants = dict.fromkeys(name.rpartition(".")[0] for name in job.outputs)
    parts = [stem, "+".join(filter(None, variants)), task.lower()]
    name = ".".join(filter(None, parts))
    if len(os.fsencode(name)) > MAX_JOURNAL_NAME_BYTES:
        start = os.fsdecode(os.fsencode(name)[: MAX_JOURNAL_NAME_BYTES - 20])
        name = f"{start}-{short_digest(name, _DIGEST_LENGTH)}"
    return path.parent / STATE_DIR / f"{name}.journal"


def open_journal(location: Location) -> Journal | None:
    """Open a recording's journal, or create one.

    Returns:
        None if another job has locked it. Remote journals have no locks.

    Raises:
        OSError: It can't be read or written.
    """
    if isinstance(location, Path):
        return LocalJournal.open_exclusive(location)
    return RemoteJournal.open(location)


class LocalJournal:
    """A journal in a file that is locked while it is open."""

    def __init__(self, file: BinaryIO, entries: JournalEntries) -> None:
        self._file = file
        self._synced_at = time.monotonic()
        self.entries = entries

    @classmethod
    def open_exclusive(cls, path: Path) -> LocalJournal | None:
        """Open and lock a journal, or create one; a damaged end is cut off.

        Returns:
            None if another job has locked it.

        Raises:
            OSError: It can't be read or written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        try:
            if not try_lock(file):
                file.close()
                return None
            file.seek(0)
            entries = JournalEntries.parse(file.read())
            file.truncate(entries.valid_bytes)
        except BaseException:
            file.close()
            raise
        return cls(file, entries)

    def reset(self, header: Mapping[str, Any]) -> None:
        """Remove all entries, and write a new header."""
        self._file.truncate(0)
        self.entries = JournalEntries()
        self.append("header", header)

    def append(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add an entry. It survives the process at once, and a power cut after a second."""
        self._file.write(encode_line(kind, entry))
        self._file.flush()
        if kind == "done" or time.monotonic() - self._synced_at >= SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close and unlock the file."""
        with suppress(OSError):  # `append` has raised it already
            self._file.close()


class RemoteJournal:
    """A journal that is uploaded as a whole.

    Two jobs may have the same one open: the last upload remains, and each is a valid journal.
    """

    def __init__(self, location: RemotePath, data: bytes) -> None:
        self.entries = JournalEntries.parse(data)
        self._location = location
        self._buffer = bytearray(data[: self.entries.valid_bytes])
        self._dirty = False
        self._upload_error: OSError | None = None
        self._timer: threading.Timer | None = None
        self._state_lock = threading.Lock()
        self._upload_lock = threading.Lock()

    @classmethod
    def open(cls, location: RemotePath) -> RemoteJournal:
        """Read a journal, or create one; a damaged end is left out.

        Raises:
            OSError: It can't be read.
        """
        try:
            return cls(location, read_bytes(location))
        except (FileNotFoundError, PermissionError):
            # S3 refuses missing files, instead of not finding them, without permission to list.
            return cls(location, b"")

    def reset(self, header: Mapping[str, Any]) -> None:
        """Remove all entries, and set a new header, which is uploaded with the first answer."""
        self.entries = JournalEntries()
        with self._state_lock:
            self._buffer = bytearray(encode_line("header", header))

    def append(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add an entry. An answer is uploaded after a delay, `done` immediately."""
        line = encode_line(kind, entry)
        with self._state_lock:
            if self._upload_error:
                raise self._upload_error
            self._buffer += line
            self._dirty = True
            if self._timer is None and kind != "done":
                self._timer = threading.Timer(UPLOAD_DELAY_SECONDS, self._upload_from_timer)
                self._timer.daemon = True
                self._timer.start()
        if kind == "done":
            self._upload()

    def close(self) -> None:
        """Upload the remaining entries, if possible."""
        with suppress(OSError):  # the next run repeats the requests of missing answers
            self._upload()

    def _upload_from_timer(self) -> None:
        try:
            self._upload()
        except OSError as error:
            self._upload_error = error

    def _upload(self) -> None:
        with self._upload_lock:  # an older state must not replace a newer one
            with self._state_lock:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                data = bytes(self._buffer) if self._dirty else b""
                self._dirty = False
            if data:
                try:
                    write_atomic(self._location, data)
                except BaseException:
                    self._dirty = True  # `close` tries once more
                    raise
