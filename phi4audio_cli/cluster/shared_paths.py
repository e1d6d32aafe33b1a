"""Checks that workers see the folders and recordings of the driver."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import check_writable
from phi4audio_cli.types import Job

MAX_PROBED = 20
"""Folders, and recordings, that are looked at: where one is shared the others are."""

SHARED_PATH_REMEDY = (
    "give a folder on a shared disk that all machines have under this name, or an s3 URL"
)


@dataclass(frozen=True, slots=True)
class SharedPathProbe:
    """What a worker must find: a file that the driver has just written in each folder."""

    token: str
    folders: tuple[Location, ...]
    recordings: tuple[Path, ...]


@contextmanager
def create_probe(folders: Iterable[Location], jobs: Iterable[Job]) -> Iterator[SharedPathProbe]:
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
    some = tuple(dict.fromkeys(folders))[:MAX_PROBED]
    recordings = [job.source for job in jobs if job.url is None]
    files = [folder / token for folder in some if isinstance(folder, Path)]
    try:
        for file in files:
            _create_file(file)
        yield SharedPathProbe(
            token, some, tuple(recordings[:: max(len(recordings) // MAX_PROBED, 1)])
        )
    finally:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def verify_probe(probe: SharedPathProbe) -> None:
    """Look, on a worker, for what the driver left.

    Raises:
        OutputError: A folder is not there, not the driver's, or can't be written to.
        UsageError: None of the recordings that were looked for is there.
    """
    for folder in probe.folders:
        if isinstance(folder, RemotePath):
            check_writable(folder)
            continue
        if not (folder / probe.token).exists():
            raise OutputError(
                "workers don't see this folder of the driver", str(folder), SHARED_PATH_REMEDY
            )
        mine = folder / _temporary_name()
        _create_file(mine)
        mine.unlink()
    if probe.recordings and not any(map(_is_readable, probe.recordings)):
        where = str(probe.recordings[0])
        raise UsageError(
            "workers don't see this recording of the driver", where, SHARED_PATH_REMEDY
        )


def _temporary_name() -> str:
    """Return a name as outputs have until they are whole: what is left of a crash is cleaned up."""
    return f".phi4audio-{secrets.token_hex(8)}.tmp"


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _create_file(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(exist_ok=False)
    except OSError as error:
        why = f"can't be written to: {error.strerror or error}"
        raise OutputError(why, str(file.parent), SHARED_PATH_REMEDY) from error
