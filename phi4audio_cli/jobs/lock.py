"""Who works where: one job an output folder, and one job a recording."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import portalocker
from portalocker import LockFlags

from phi4audio_cli.errors import FileError, OutputError, UsageError
from phi4audio_cli.storage import STATE_DIR as STATE_DIR
from phi4audio_cli.storage import Location, RemotePath, check_writable

MAX_LOCKED_FOLDERS = 200
"""Folders that are locked as a whole; in further ones each recording's own lock must do."""


class RecordingLockedError(FileError):
    """Another job works on this recording, or has done it meanwhile."""


def try_lock(file: IO[bytes], *, shared: bool = False) -> bool:
    """Lock an open file for this process, without waiting; a dead process holds no lock.

    Returns:
        False where another holds it. Where the file system knows no locks, it is taken as locked.
    """
    kind = LockFlags.SHARED if shared else LockFlags.EXCLUSIVE
    try:
        portalocker.lock(file, kind | LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException:
        return True
    return True


@contextmanager
def lock_output_dirs(
    folders: Iterable[Location],
    *,
    shared: bool,
    when_exclusive: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Hold output folders for this job.

    Jobs that share a folder leave it to the locks of single recordings who does which. A job that
    shares nothing refuses where any other job works; others may join it with `shared`.

    Behind a URL there are no locks. Jobs that meet there do the same twice, and break nothing: each
    file appears whole, and says the same. A note is written there, which shows that it can be.

    Args:
        folders: Of the outputs. They are made where they are missing.
        shared: Whether others may work there too.
        when_exclusive: Called while no other job can be in them.

    Raises:
        UsageError: Another job works there.
        OutputError: The folder can't be written to.
    """
    here: dict[Path, None] = {}
    for folder in folders:
        if isinstance(folder, RemotePath):
            check_writable(folder)
        else:
            here[folder.resolve()] = None
    places = list(here)[:MAX_LOCKED_FOLDERS]
    with ExitStack() as held:
        for folder in places:
            _lock_folder(folder, held, shared)
        if not shared:
            _check_not_shared(places)
            when_exclusive()
        yield


def _lock_folder(folder: Path, stack: ExitStack, shared: bool) -> None:
    file = stack.enter_context(_open_lock_file(folder, "shared" if shared else "lock"))
    if not try_lock(file, shared=shared):
        raise _folder_locked_error(folder, _lock_owner(file))
    if not shared:
        with contextlib.suppress(OSError):  # the lock holds, whether or not it says who holds it
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())


def _check_not_shared(folders: Iterable[Path]) -> None:
    for folder in folders:
        with _open_lock_file(folder, "shared") as file:
            if not try_lock(file):
                raise _folder_locked_error(folder, "a job with --shared")


def _open_lock_file(folder: Path, name: str) -> IO[bytes]:
    home = folder / STATE_DIR
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Unbuffered: closing it has nothing to write, and so can't fail on a full disk.
        return (home / name).open("a+b", buffering=0)
    except OSError as error:
        raise OutputError(
            f"can't be written to: {error.strerror or error}",
            str(home),
            "check the space and the permissions there, or give another --output-dir",
        ) from error


def _lock_owner(file: IO[bytes]) -> str:
    """Say who holds a lock; Windows doesn't let others read it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        file.seek(0)
        entry = json.loads(file.read())
        return f"process {entry['process']} on {entry['host']}"
    return "another job"


def _folder_locked_error(folder: Path, owner: str) -> UsageError:
    return UsageError(
        f"{owner} is writing into this folder",
        str(folder),
        "wait for it, or add --shared to work on the recordings that it has not begun",
    )
