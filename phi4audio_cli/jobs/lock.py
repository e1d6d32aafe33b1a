"""Locks of output folders: one job per folder, or several jobs that lock single recordings."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from phi4audio_cli.errors import FileError, OutputError, UsageError
from phi4audio_cli.file_lock import try_lock
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import STATE_DIR, WRITE_REMEDY, check_writable, error_reason

MAX_LOCKED_FOLDERS = 200
"""Folders locked as a whole; in further folders only the locks of single recordings count."""


class RecordingLockedError(FileError):
    """Another job works on this recording, or has finished it since this job started."""


@contextmanager
def lock_output_dirs(
    folders: Iterable[Location],
    *,
    shared: bool,
    when_exclusive: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Lock output folders for this job.

    Jobs with `shared` may use a folder at the same time; the locks of single recordings divide
    the work among them. A job without it refuses a folder in which any other job works.

    Remote folders have no locks. Jobs that share one may do a recording twice, without harm: each
    file appears complete, and both write the same content. A small file is written there, to check
    that the folder is writable.

    Args:
        folders: Folders of the outputs; missing local ones are created.
        shared: Whether other jobs may use them too.
        when_exclusive: Called while no other job can use them.

    Raises:
        UsageError: Another job works in a folder.
        OutputError: A folder can't be written to.
    """
    local: dict[Path, None] = {}
    for folder in folders:
        if isinstance(folder, RemotePath):
            check_writable(folder)
        else:
            local[folder.resolve()] = None
    to_lock = list(local)[:MAX_LOCKED_FOLDERS]
    with ExitStack() as locks:
        for folder in to_lock:
            _lock_folder(folder, locks, shared)
        if not shared:
            _check_not_shared(to_lock)
            when_exclusive()
        yield


def _lock_folder(folder: Path, stack: ExitStack, shared: bool) -> None:
    file = stack.enter_context(_open_lock_file(folder, "shared" if shared else "lock"))
    if not try_lock(file, shared=shared):
        raise _folder_locked_error(folder, _lock_owner(file))
    if not shared:
        with contextlib.suppress(OSError):  # the lock counts even without the name of its owner
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())


def _check_not_shared(folders: Iterable[Path]) -> None:
    for folder in folders:
        with _open_lock_file(folder, "shared") as file:
            if not try_lock(file):
                raise _folder_locked_error(folder, "a job with --shared")


def _open_lock_file(folder: Path, name: str) -> IO[bytes]:
    state_dir = folder / STATE_DIR
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        # Unbuffered: closing has nothing to write, and can't fail on a full disk.
        return (state_dir / name).open("a+b", buffering=0)
    except OSError as error:
        what = f"can't be written to: {error_reason(error)}"
        raise OutputError(what, str(state_dir), WRITE_REMEDY) from error


def _lock_owner(file: IO[bytes]) -> str:
    """Return the owner of a lock; Windows lets no other process read it."""
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
