"""Locations of files, local or behind a URL, with whole-file reads and atomic writes.

Remote files go through fsspec; every error of a file system is raised as OSError.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeAlias, TypeVar

from phi4audio_cli.errors import OutputError, UsageError

STATE_DIR = ".phi4audio"
"""Folder for what a job keeps beside its outputs."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # one letter is a drive of Windows
_MALFORMED_URL = re.compile(r"(s3a?|gc?s|az|abfss?|oss|hdfs|memory|file):/(?!/)", re.IGNORECASE)
_ROOT_KEY = PurePosixPath()


@dataclass(frozen=True, slots=True, repr=False)
class RemotePath:
    """A place below a URL. It has those of `Path`'s ways that outputs are named by."""

    root: str
    """The URL the user gave, without a slash at its end."""
    key: PurePosixPath = _ROOT_KEY
    """The place below it. Kept apart: a recording's name may hold what means more in a URL."""

    def __truediv__(self, below: str | PurePath) -> RemotePath:
        # Keys are UTF-8; names from a file system may hold bytes that are none.
        name = PurePath(below).as_posix().encode(errors="backslashreplace").decode()
        return RemotePath(self.root, self.key / name)

    def __str__(self) -> str:
        """Return it for messages and reports: without user and password."""
        return "/".join([redact_url(self.root), *self.key.parts])

    __repr__ = __str__

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.name

    @property
    def suffix(self) -> str:
        """The end of the name, with its dot."""
        return self.key.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder it lies in; the root's is the root."""
        return RemotePath(self.root, self.key.parent)

    def with_suffix(self, suffix: str) -> RemotePath:
        """Return it with another end of the name."""
        return RemotePath(self.root, self.key.with_suffix(suffix))


Location: TypeAlias = Path | RemotePath
"""Where an output lies."""


def parse_folder_location(text: str | Path) -> Location:
    """Return the folder a path or URL means; `file://` means this machine.

    Raises:
        UsageError: A URL that names no place, or half a URL.
    """
    name = str(text)
    if _MALFORMED_URL.match(name):
        scheme, _, rest = name.partition(":")
        remedy = f"write {scheme}://{rest.lstrip('/')}, or ./{name} for a folder"
        raise UsageError("this is half a URL", name, remedy)
    if not is_url(name):
        return Path(text).expanduser()
    scheme, place = url_scheme(name), name.partition("://")[2]
    if not place.strip("/"):
        remedy = f"write {scheme}://bucket/folder"
        raise UsageError("this URL names no place", redact_url(name), remedy)
    if scheme in ("file", "local"):
        return Path(place)
    return RemotePath(name.rstrip("/"))


def parse_file_location(text: str | Path) -> Location:
    """Return the file a path or URL means.

    Raises:
        UsageError: As `parse_folder_location`.
    """
    place = parse_folder_location(text)
    if isinstance(place, Path):
        return place
    root, _, name = place.root.rpartition("/")
    if root.endswith(("/", ":")):
        raise UsageError("this URL names no file", str(place), f"write {place}/report.json")
    return RemotePath(root) / name


def is_url(text: str) -> bool:
    """Return whether this is a URL and no path."""
    return _URL.match(text) is not None


def url_scheme(url: str) -> str:
    """Return `https` of `HTTPS://example.org`."""
    return url.partition("://")[0].lower()


def redact_url(url: str) -> str:
    """Return a URL for messages and reports: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    if scheme.lower() in ("abfs", "abfss"):  # Azure's containers stand where others have users
        return f"{scheme}{separator}{host}{slash}{path}"
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


ATOMIC_PUT_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"})
"""Object stores; elsewhere a file grows in sight, and takes a temporary name until it is whole."""

STATE_DIR_README = b"""What phi4audio knows of the recordings whose outputs lie here: the same command goes
on where it stopped. Once all outputs are there, this folder may be deleted.
"""

READ_ONLY_SCHEMES = frozenset({"http", "https", "data", "git", "github", "zip", "tar"})
"""Where nothing can be written."""


def check_writable_scheme(location: RemotePath) -> None:
    """Check that what is needed to write there is installed; nothing is touched.

    Raises:
        UsageError: A package is missing, no such scheme is known, or it is for reading only.
    """
    scheme = url_scheme(location.root)
    remedy = "give a folder, or an s3 or gs URL"
    if scheme in READ_ONLY_SCHEMES:
        raise UsageError(f"nothing can be written to {scheme}://", str(location), remedy)
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        install = "pip install 'phi4audio[remote]'"
        raise UsageError(f"{scheme}:// needs more packages", str(location), install) from error
    except ValueError as error:
        raise UsageError(f"{scheme}:// is not known", str(location), remedy) from error


def check_writable(folder: RemotePath) -> None:
    """Write a note into what a job keeps beside its outputs, to see that it can be done.

    Raises:
        OutputError: No such bucket, no credentials, no right to.
    """
    try:
        write_remote(folder / STATE_DIR / "README.txt", STATE_DIR_README)
    except OSError as error:
        remedy = "check the bucket's name, your credentials and your rights there"
        raise OutputError(
            f"can't be written to: {error_reason(error)}", str(folder), remedy
        ) from error


def has_atomic_put(location: RemotePath) -> bool:
    """Return whether it lies in an object store, where a put is seen whole or not at all."""
    return url_scheme(location.root) in ATOMIC_PUT_SCHEMES


def error_reason(error: OSError) -> str:
    """Return why something failed, in a line."""
    return error.strerror or str(error) or type(error).__name__


def read_remote(location: RemotePath) -> bytes:
    """Return a file's bytes.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
    """
    with _as_os_error():
        system, path = _open_filesystem(location)
        data: bytes = system.cat_file(path)
        return data


def list_remote_names(folder: RemotePath) -> set[str]:
    """Return the names of what lies in a folder; none where there is no folder.

    Raises:
        OSError: It can't be listed.
    """
    with _as_os_error():
        system, path = _open_filesystem(folder)
        system.invalidate_cache(path)  # others write there too
        try:
            return {each.rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)}
        except FileNotFoundError:
            return set()


def write_remote(location: RemotePath, data: bytes) -> None:
    """Write a file; it appears complete, or not at all.

    An object store takes it in a single put. Elsewhere it gets a temporary name beside its own,
    and is renamed; that is as safe as the server's rename.

    Raises:
        OSError: It can't be written; a temporary file is gone then, if it can be.
    """
    with _as_os_error():
        system, path = _open_filesystem(location)
        if has_atomic_put(location):
            system.pipe_file(path, data)
        else:
            _write_remote_then_rename(system, path, data)


def _write_remote_then_rename(system: Any, path: str, data: bytes) -> None:
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/.phi4audio-{secrets.token_hex(8)}.tmp"
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

    # fsspec's own takes brackets in a name for a pattern.
    def copy_and_remove(source: str, target: str) -> None:
        system.cp_file(source, target)
        system.rm_file(source)

    return copy_and_remove


def _open_filesystem(location: RemotePath) -> tuple[Any, str]:
    """Return the file system, and the place's path in it."""
    from fsspec.core import url_to_fs

    system, base = url_to_fs(location.root)
    return system, "/".join([base.rstrip("/"), *location.key.parts])


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # every file system has exceptions of its own
        raise OSError(f"{type(error).__name__}: {error}") from error


MAX_CONCURRENT_REQUESTS = 16
"""Requests to an object store at the same time; each waits for the network."""

Value = TypeVar("Value")


def check_location(location: Location | None, *, offline: bool = False) -> None:
    """Check what can be told of a place for outputs without touching it.

    Raises:
        UsageError: Behind a URL, and offline; a scheme that can't be written to, or a missing
            package.
    """
    if not isinstance(location, RemotePath):
        return
    if offline:
        remedy = "leave out --offline, or give a folder"
        raise UsageError("is not reached offline", str(location), remedy)
    check_writable_scheme(location)


def read_bytes(location: Location) -> bytes:
    """Return a file's bytes.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
    """
    return location.read_bytes() if isinstance(location, Path) else read_remote(location)


def read_all(locations: Iterable[Location]) -> list[bytes | None]:
    """Return the bytes of each file; None for those that can't be read."""
    return _map_concurrently(_read_or_none, list(locations))


def write_atomic(location: Location, data: bytes) -> None:
    """Write a file; it appears complete, or not at all.

    Raises:
        OSError: It can't be written; nothing is left of it then.
    """
    if isinstance(location, RemotePath):
        write_remote(location, data)
    else:
        _write_local_atomic(location, data)


def write_all(contents: Mapping[Location, bytes]) -> None:
    """Write several files; each appears complete, or not at all.

    Raises:
        OutputError: The first that can't be written.
    """
    _map_concurrently(lambda place: _write_or_output_error(place, contents[place]), list(contents))


class ListingCache:
    """What lies in folders behind URLs; each is listed once, and not again."""

    def __init__(self) -> None:
        self._names_by_folder: dict[RemotePath, set[str] | None] = {}
        self._lock = threading.Lock()

    def may_exist(self, location: Location) -> bool:
        """Return whether a file may be there; of this machine's, always."""
        if not isinstance(location, RemotePath):
            return True
        with self._lock:
            if location.parent not in self._names_by_folder:
                try:
                    self._names_by_folder[location.parent] = list_remote_names(location.parent)
                except OSError:
                    self._names_by_folder[location.parent] = None
            names = self._names_by_folder[location.parent]
        return names is None or location.name in names


def _map_concurrently(
    function: Callable[[Location], Value], locations: list[Location]
) -> list[Value]:
    remotely = all(isinstance(each, RemotePath) and has_atomic_put(each) for each in locations)
    if len(locations) < 2 or not remotely:
        return [function(place) for place in locations]
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
        raise OutputError(
            f"can't be written: {error_reason(error)}",
            str(location),
            "check the space and the permissions there, or give another --output-dir",
        ) from error


def _write_local_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".phi4audio-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def nearest_existing(path: Path) -> Path:
    """Return a path if it exists, else its nearest parent that does; links are resolved."""
    found = path.resolve()
    while not os.path.lexists(found):
        found = found.parent
    return found
