"""Checks that workers can access the folders and recordings of the driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import check_writable, error_reason, temporary_name
from phi4audio_cli.types import Job

MAX_PROBED = 20
"""Maximum number of folders, and of recordings, that are checked."""

SHARED_PATH_REMEDY = (
    "give a folder on a shared disk that all machines have under this name, or an s3 URL"
)


@dataclass(frozen=True, slots=True)
class SharedPathProbe:
    """Paths that a worker must find, and a file written by the driver into each folder."""

    token: str
    folders: tuple[Location, ...]
    recordings: tuple[Path, ...]


@contextmanager
def create_probe(folders: Iterable[Location], jobs: Iterable[Job]) -> Iterator[SharedPathProbe]:
    """Write a file into each folder, and remove it when the context ends.

    Raises:
        UsageError: A recording on the driver's standard input.
        OutputError: A folder that can't be written to.
    """
    if any(job.url == STDIN for job in jobs):
        raise UsageError(
            "workers can't read the driver's standard input", "-", "give a file, or a URL"
        )
    token = temporary_name()  # a later run removes it after a crash
    probed = tuple(dict.fromkeys(folders))[:MAX_PROBED]
    recordings = [job.source for job in jobs if job.url is None]
    files = [folder / token for folder in probed if isinstance(folder, Path)]
    try:
        for file in files:
            _create_file(file)
        yield SharedPathProbe(
            token, probed, tuple(recordings[:: max(len(recordings) // MAX_PROBED, 1)])
        )
    finally:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def verify_probe(probe: SharedPathProbe) -> None:
    """Check on a worker that it finds the paths of a probe.

    Raises:
        OutputError: A folder is missing, not shared, or can't be written to.
        UsageError: None of the recordings can be read.
    """
    for folder in probe.folders:
        if isinstance(folder, RemotePath):
            check_writable(folder)
            continue
        if not (folder / probe.token).exists():
            raise OutputError(
                "workers don't see this folder of the driver", str(folder), SHARED_PATH_REMEDY
            )
        own_file = folder / temporary_name()
        _create_file(own_file)
        own_file.unlink()
    if probe.recordings and not any(map(_is_readable, probe.recordings)):
        where = str(probe.recordings[0])
        raise UsageError(
            "workers don't see this recording of the driver", where, SHARED_PATH_REMEDY
        )


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
        what = f"can't be written to: {error_reason(error)}"
        raise OutputError(what, str(file.parent), SHARED_PATH_REMEDY) from error
