"""Whether a worker sees the folders that the driver sees."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.inputs import STDIN
from phi4audio_cli.location import Location, RemotePath
from phi4audio_cli.remote import leave_note
from phi4audio_cli.types import Job

MOST = 20
"""Folders, and recordings, that are looked at: where one is shared the others are."""

_REMEDY = "give a folder on a shared disk that all machines have under this name, or an s3 URL"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a worker must find: a file that the driver has just written in each folder."""

    token: str
    folders: tuple[Location, ...]
    recordings: tuple[Path, ...]


@contextmanager
def proof(folders: Iterable[Location], jobs: Iterable[Job]) -> Iterator[Proof]:
    """Leave a file in each folder for as long as workers look for it.

    Raises:
        UsageError: A recording that only the driver can read.
        OutputError: A folder that can't be written to.
    """
    if any(job.url == STDIN for job in jobs):
        raise UsageError(
            "workers can't read the driver's standard input", "-", "give a file, or a URL"
        )
    token = _temporary_name()
    some = tuple(dict.fromkeys(folders))[:MOST]
    recordings = [job.source for job in jobs if job.url is None]
    files = [folder / token for folder in some if isinstance(folder, Path)]
    try:
        for file in files:
            _write(file)
        yield Proof(token, some, tuple(recordings[:: max(len(recordings) // MOST, 1)]))
    finally:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def check(wanted: Proof) -> None:
    """Look, on a worker, for what the driver left.

    Raises:
        OutputError: A folder is not there, not the driver's, or can't be written to.
        UsageError: None of the recordings that were looked for is there.
    """
    for folder in wanted.folders:
        if isinstance(folder, RemotePath):
            leave_note(folder)
            continue
        if not (folder / wanted.token).exists():
            raise OutputError("workers don't see this folder of the driver", str(folder), _REMEDY)
        mine = folder / _temporary_name()
        _write(mine)
        mine.unlink()
    if wanted.recordings and not any(map(_is_there, wanted.recordings)):
        where = str(wanted.recordings[0])
        raise UsageError("workers don't see this recording of the driver", where, _REMEDY)


def _temporary_name() -> str:
    """Return a name as outputs have until they are whole: what is left of a crash is cleaned up."""
    return f".phi4audio-{secrets.token_hex(8)}.tmp"


def _is_there(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _write(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(exist_ok=False)
    except OSError as error:
        why = f"can't be written to: {error.strerror or error}"
        raise OutputError(why, str(file.parent), _REMEDY) from error
