"""A folder that appears complete or not at all.

Files are written into a staging folder next to the target, which takes the target's name at the
end. A process killed at any moment leaves the target as it was; the next run removes the staging
folder that it left.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from phi4audio_cli.errors import OutputError
from phi4audio_cli.file_lock import try_lock

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
"""RENAME_EXCHANGE and AT_FDCWD of renameat2(2) on Linux."""


@contextlib.contextmanager
def staged_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give an empty folder that becomes `target` when the block ends without an error.

    Args:
        target: Its parents are created.
        replace: Whether an existing folder is replaced.

    Raises:
        OutputError: The target can't be written to, or another run is writing to it.
    """
    staging = staging_path(target)
    with os_errors_as_output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(exist_ok=True)
    with os_errors_as_output_errors(target), _lock_folder(staging):
        _clear_folder(staging)
        try:
            yield staging
            sync_folder(staging)
            _replace_target(staging, target, replace=replace)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def staging_path(target: Path) -> Path:
    """Return the staging folder of a target."""
    return target.with_name(f".{target.name}.partial")


def restore_backup(target: Path) -> None:
    """Restore the old folder after a kill between the two renames of `_replace_target`."""
    backup = _backup_path(target)
    if not backup.exists():
        return
    if target.exists():
        shutil.rmtree(backup)
    else:
        backup.rename(target)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, if the system can."""
    with _open_folder(folder) as descriptor:
        if descriptor is not None:
            os.fsync(descriptor)


@contextlib.contextmanager
def os_errors_as_output_errors(target: Path) -> Iterator[None]:
    """Turn errors of the system in the block into errors about `target`.

    Raises:
        OutputError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            what, remedy = "the disk is full", "make room, or choose another disk"
        else:
            what, remedy = f"can't be written: {error.strerror}", "choose another place"
        raise OutputError(what, str(target), remedy) from error


def _backup_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _replace_target(staging: Path, target: Path, *, replace: bool) -> None:
    if target.exists() and any(target.iterdir()):
        if not replace:
            raise OutputError("was filled by another process during the export", str(target))
        if not _exchange(staging, target):
            target.rename(_backup_path(target))
            staging.rename(target)
            shutil.rmtree(_backup_path(target))
    else:
        staging.rename(target)
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders atomically; False if the system or the file system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(
        rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    )


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs; the system releases the lock when the process ends."""
    with _open_folder(folder) as descriptor:
        if descriptor is not None and not try_lock(descriptor):
            raise OutputError(
                "another run is writing here", str(folder), "wait for it, or choose another place"
            )
        yield


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[int | None]:
    """Give a descriptor of a folder; None on Windows, which can't open folders."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clear_folder(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
