"""A folder that appears whole or not at all.

It is written under another name beside its place and renamed at the end. A kill at any moment
leaves the place as it was; what the killed run left is taken away by the next one.
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

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
"""RENAME_EXCHANGE and AT_FDCWD of Linux' renameat2(2)."""


@contextlib.contextmanager
def staged_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """An empty folder to write into, which becomes `target` where the block ends without error.

    Args:
        target: The place; its parents are made.
        replace: Whether a folder that is there already is replaced.

    Raises:
        OutputError: The place can't be written to, or another run is writing to it.
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
    """Where a folder is written before it has its place."""
    return target.with_name(f".{target.name}.partial")


def restore_backup(target: Path) -> None:
    """Puts an old folder back that a killed run had moved aside, where exchange isn't atomic."""
    aside = _backup_path(target)
    if not aside.exists():
        return
    if target.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(target)


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk, where the system can."""
    with contextlib.suppress(PermissionError):  # Windows can't open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _backup_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _replace_target(staging: Path, target: Path, *, replace: bool) -> None:
    if target.exists() and any(target.iterdir()):
        if not replace:
            raise OutputError("was filled by someone else meanwhile", str(target))
        if not _exchange(staging, target):
            target.rename(_backup_path(target))
            staging.rename(target)
            shutil.rmtree(_backup_path(target))
    else:
        staging.rename(target)
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders at once; False where this system or file system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(
        rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    )


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Holds a folder against another run; the system lets go of it when the process dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                "another run is writing here", str(folder), "wait for it, or choose another place"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _clear_folder(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextlib.contextmanager
def os_errors_as_output_errors(target: Path) -> Iterator[None]:
    """Says of the system's errors in the block what they mean for `target`.

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
