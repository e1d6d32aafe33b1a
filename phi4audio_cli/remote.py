"""Whole files behind a URL, by fsspec: read, listed, and written so that none is ever seen half.

Whatever a file system raises comes out as an OSError.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.location import HOME, RemotePath, scheme_of

PUT_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"})
"""Object stores; elsewhere a file grows in sight, and takes a temporary name until it is whole."""

NOTE = b"""What phi4audio knows of the recordings whose outputs lie here: the same command goes
on where it stopped. Once all outputs are there, this folder may be deleted.
"""

READ_ONLY = frozenset({"http", "https", "data", "git", "github", "zip", "tar"})
"""Where nothing can be written."""


def check_scheme(place: RemotePath) -> None:
    """Check that what is needed to write there is installed; nothing is touched.

    Raises:
        UsageError: A package is missing, no such scheme is known, or it is for reading only.
    """
    scheme = scheme_of(place.root)
    remedy = "give a folder, or an s3 or gs URL"
    if scheme in READ_ONLY:
        raise UsageError(f"nothing can be written to {scheme}://", str(place), remedy)
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        install = "pip install 'phi4audio[remote]'"
        raise UsageError(f"{scheme}:// needs more packages", str(place), install) from error
    except ValueError as error:
        raise UsageError(f"{scheme}:// is not known", str(place), remedy) from error


def leave_note(folder: RemotePath) -> None:
    """Write a note into what a job keeps beside its outputs, to see that it can be done.

    Raises:
        OutputError: No such bucket, no credentials, no right to.
    """
    try:
        write(folder / HOME / "README.txt", NOTE)
    except OSError as error:
        remedy = "check the bucket's name, your credentials and your rights there"
        raise OutputError(f"can't be written to: {reason(error)}", str(folder), remedy) from error


def puts_whole(place: RemotePath) -> bool:
    """Return whether it lies in an object store, where a put is seen whole or not at all."""
    return scheme_of(place.root) in PUT_WHOLE


def reason(error: OSError) -> str:
    """Return why something failed, in a line."""
    return error.strerror or str(error) or type(error).__name__


def read(place: RemotePath) -> bytes:
    """Return a file's bytes.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
    """
    with _told_as_os_error():
        system, path = _open(place)
        data: bytes = system.cat_file(path)
        return data


def names(folder: RemotePath) -> set[str]:
    """Return the names of what lies in a folder; none where there is no folder.

    Raises:
        OSError: It can't be listed.
    """
    with _told_as_os_error():
        system, path = _open(folder)
        system.invalidate_cache(path)  # others write there too
        try:
            return {each.rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)}
        except FileNotFoundError:
            return set()


def write(place: RemotePath, data: bytes) -> None:
    """Write a file; it appears complete, or not at all.

    An object store takes it in a single put. Elsewhere it gets a temporary name beside its own,
    and is renamed; that is as safe as the server's rename.

    Raises:
        OSError: It can't be written; a temporary file is gone then, if it can be.
    """
    with _told_as_os_error():
        system, path = _open(place)
        if puts_whole(place):
            system.pipe_file(path, data)
        else:
            _write_and_rename(system, path, data)


def _write_and_rename(system: Any, path: str, data: bytes) -> None:
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/.phi4audio-{secrets.token_hex(8)}.tmp"
    system.makedirs(folder, exist_ok=True)
    try:
        system.pipe_file(temporary, data)
        _mover(system)(temporary, path)
    except BaseException:
        with suppress(Exception):
            system.rm_file(temporary)
        raise


def _mover(system: Any) -> Callable[[str, str], object]:
    from fsspec.spec import AbstractFileSystem

    if type(system).mv is not AbstractFileSystem.mv:
        move: Callable[[str, str], object] = system.mv
        return move

    # fsspec's own takes brackets in a name for a pattern.
    def copy_and_remove(source: str, target: str) -> None:
        system.cp_file(source, target)
        system.rm_file(source)

    return copy_and_remove


def _open(place: RemotePath) -> tuple[Any, str]:
    """Return the file system, and the place's path in it."""
    from fsspec.core import url_to_fs

    system, base = url_to_fs(place.root)
    return system, "/".join([base.rstrip("/"), *place.key.parts])


@contextmanager
def _told_as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # every file system has exceptions of its own
        raise OSError(f"{type(error).__name__}: {error}") from error
