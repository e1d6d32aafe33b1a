"""Whole-file reads and atomic writes, local or behind a URL, and checks before them.

Remote files go through fsspec; every error of a file system is raised as OSError.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.locations import Location, RemotePath, url_scheme

STATE_DIR = ".phi4audio"
"""Folder for locks and journals, inside each output folder."""

STATE_DIR_README = b"""Journals of phi4audio for the recordings of this folder: the same command
resumes where it stopped. Once all outputs are there, this folder may be deleted.
"""

WRITE_REMEDY = "check the space and the permissions there, or give another --output-dir"

ATOMIC_PUT_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"})
"""Object stores; on other file systems a file is visible while it grows."""

READ_ONLY_SCHEMES = frozenset({"http", "https", "data", "git", "github", "zip", "tar"})

MAX_CONCURRENT_REQUESTS = 16
"""Simultaneous requests to an object store; each waits for the network."""

MAX_NAME_BYTES = 255
"""Maximum length of a file's name on common file systems."""

_TEMPORARY_NAME = re.compile(r"\.phi4audio-[0-9a-f]{16}\.tmp")

Value = TypeVar("Value")


# Checks.


def check_location(location: Location | None, *, offline: bool = False) -> None:
    """Check an output location without accessing it.

    Raises:
        UsageError: A URL in an offline run, or as `check_writable_scheme`.
    """
    if not isinstance(location, RemotePath):
        return
    if offline:
        remedy = "leave out --offline, or give a folder"
        raise UsageError("can't be reached with --offline", str(location), remedy)
    check_writable_scheme(location)


def check_writable_scheme(location: RemotePath) -> None:
    """Check that the packages for writing to a URL are installed, without accessing it.

    Raises:
        UsageError: A missing package, an unknown scheme, or a read-only scheme.
    """
    scheme = url_scheme(location.root)
    remedy = "give a folder, or an s3 or gs URL"
    if scheme in READ_ONLY_SCHEMES:
        raise UsageError(f"{scheme}:// is read-only", str(location), remedy)
    require_filesystem(scheme, str(location), remedy)


def require_filesystem(scheme: str, where: str, remedy: str) -> None:
    """Check that fsspec knows a URL's scheme and that its packages are installed.

    Args:
        scheme: Of the URL.
        where: The URL, for the message.
        remedy: What to use in place of an unknown scheme.

    Raises:
        UsageError: A missing package, or an unknown scheme.
    """
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        install = "pip install 'phi4audio[remote]'"
        raise UsageError(f"{scheme}:// needs more packages", where, install) from error
    except ValueError as error:
        raise UsageError(f"unknown URL scheme {scheme}://", where, remedy) from error


def check_writable(folder: RemotePath) -> None:
    """Check that a remote folder is writable, by writing the README of its state folder.

    Raises:
        OutputError: No such bucket, no credentials, or no permission.
    """
    try:
        write_atomic(folder / STATE_DIR / "README.txt", STATE_DIR_README)
    except OSError as error:
        remedy = "check the bucket's name, your credentials and your permissions there"
        what = f"can't be written to: {error_reason(error)}"
        raise OutputError(what, str(folder), remedy) from error


def nearest_existing(path: Path) -> Path:
    """Return a path if it exists, else its nearest parent that does; links are resolved."""
    found = path.resolve()
    while not os.path.lexists(found):
        found = found.parent
    return found


def has_atomic_put(location: RemotePath) -> bool:
    """Return whether a location is in an object store, where only complete files are visible."""
    return url_scheme(location.root) in ATOMIC_PUT_SCHEMES


def error_reason(error: Exception) -> str:
    """Return the reason of a failure in one line."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# Names and text.


def temporary_name() -> str:
    """Return a random name for a file until it is complete; `remove_temporary_files` knows it."""
    return f".phi4audio-{secrets.token_hex(8)}.tmp"


def remove_temporary_files(folders: Iterable[Location]) -> list[Path]:
    """Remove the temporary files of killed runs, and return their paths.

    Call this only while no other run writes into these folders, for their temporary files have
    the same names. Remote folders are left out: they have no locks.

    Args:
        folders: Output folders; missing ones are left out.
    """
    removed = []
    for folder in folders:
        with suppress(OSError):  # a leftover does no harm
            for path in list(folder.iterdir()) if isinstance(folder, Path) else ():
                if _TEMPORARY_NAME.fullmatch(path.name):
                    path.unlink()
                    removed.append(path)
    return removed


def short_digest(text: str, length: int = 8) -> str:
    """Return hexadecimal digits that tell similar names apart, the same in every run."""
    return sha256(os.fsencode(text)).hexdigest()[:length]


def shorten_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name of at most `max_bytes` bytes; a cut one ends in a digest of the whole name."""
    data = os.fsencode(name)
    if len(data) <= max_bytes:
        return name
    end = f"~{short_digest(name)}"
    return data[: max_bytes - len(end)].decode(errors="ignore") + end


def encode_text(text: str) -> bytes:
    """Return a text in UTF-8, as output files contain it."""
    # Names from the file system may contain other bytes, as lone surrogates.
    return text.encode("utf-8", errors="backslashreplace")


# Reading and writing.


def read_bytes(location: Location) -> bytes:
    """Return the content of a file.

    Raises:
        FileNotFoundError: No such file.
        OSError: It can't be read.
    """
    if isinstance(location, Path):
        return location.read_bytes()
    with _as_os_error():
        system, path = _open_filesystem(location)
        data: bytes = system.cat_file(path)
        return data


def read_all(locations: Iterable[Location]) -> list[bytes | None]:
    """Return the content of each file; None for each that can't be read."""
    return _map_concurrently(_read_or_none, list(locations))


def list_remote_names(folder: RemotePath) -> set[str]:
    """Return the names in a folder; empty if there is no such folder.

    Raises:
        OSError: It can't be listed.
    """
    with _as_os_error():
        system, path = _open_filesystem(folder)
        system.invalidate_cache(path)  # other processes write there too
        try:
            return {each.rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)}
        except FileNotFoundError:
            return set()


def write_atomic(location: Location, data: bytes) -> None:
    """Write a file; only its complete content becomes visible.

    An object store gets a single put. Elsewhere the file is written under a temporary name in the
    same folder and renamed, which is as safe as the file system's rename.

    Raises:
        OSError: It can't be written. The temporary file is removed, if possible.
    """
    if isinstance(location, Path):
        _write_local(location, data)
        return
    with _as_os_error():
        system, path = _open_filesystem(location)
        if has_atomic_put(location):
            system.pipe_file(path, data)
        else:
            _write_then_rename(system, path, data)


def write_all(contents: Mapping[Location, bytes]) -> None:
    """Write several files, each as `write_atomic` does.

    Raises:
        OutputError: The first file that can't be written.
    """
    _map_concurrently(lambda each: _write_or_output_error(each, contents[each]), list(contents))


def _map_concurrently(
    function: Callable[[Location], Value], locations: list[Location]
) -> list[Value]:
    concurrent = all(isinstance(each, RemotePath) and has_atomic_put(each) for each in locations)
    if len(locations) < 2 or not concurrent:
        return [function(each) for each in locations]
    with ThreadPoolExecutor(min(len(locations), MAX_CONCURRENT_REQUESTS)) as pool:
        return list(pool.map(function, locations))


def _read_or_none(location: Location) -> bytes | None:
    try:
        return read_bytes(location)
    except OSError:
        return None


def _write_or_output_error(location: Location, data: bytes) -> None:
    try:
        write_atomic(location, data)
    except OSError as error:
        what = f"can't be written: {error_reason(error)}"
        raise OutputError(what, str(location), WRITE_REMEDY) from error


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name()
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_then_rename(system: Any, path: str, data: bytes) -> None:
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/{temporary_name()}"
    system.makedirs(folder, exist_ok=True)
    try:
        system.pipe_file(temporary, data)
        _move_function(system)(temporary, path)
    except BaseException:
        with suppress(Exception):
            system.rm_file(temporary)
        raise


def _move_function(system: Any) -> Callable[[str, str], object]:
    from fsspec.spec import AbstractFileSystem

    if type(system).mv is not AbstractFileSystem.mv:
        move: Callable[[str, str], object] = system.mv
        return move

    # The default of fsspec reads brackets in a name as a pattern.
    def copy_and_remove(source: str, target: str) -> None:
        system.cp_file(source, target)
        system.rm_file(source)

    return copy_and_remove


def _open_filesystem(location: RemotePath) -> tuple[Any, str]:
    """Return the file system of a location, and the path within it."""
    from fsspec.core import url_to_fs

    system, base = url_to_fs(location.root)
    return system, "/".join([base.rstrip("/"), *location.key.parts])


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # every file system has its own exceptions
        raise OSError(f"{type(error).__name__}: {error}") from error
