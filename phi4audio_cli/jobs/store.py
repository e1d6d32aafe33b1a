"""Whole files wherever they lie: on this machine, or behind a URL. None is ever seen half."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from phi4audio_cli import remote
from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.location import Location, RemotePath

AT_ONCE = 16
"""Requests to an object store at the same time; each waits for the network."""

Value = TypeVar("Value")


def check_place(place: Location | None, *, offline: bool = False) -> None:
    """Check what can be told of a place for outputs without touching it.

    Raises:
        UsageError: Behind a URL, and offline; a scheme that can't be written to, or a missing
            package.
    """
    if not isinstance(place, RemotePath):
        return
    if offline:
        remedy = "leave out --offline, or give a folder"
        raise UsageError("is not reached offline", str(place), remedy)
    remote.check_scheme(place)


def read(place: Location) -> bytes:
    """Return a file's bytes.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
    """
    return place.read_bytes() if isinstance(place, Path) else remote.read(place)


def read_each(places: Iterable[Location]) -> list[bytes | None]:
    """Return the bytes of each file; None for those that can't be read."""
    return _each(_read_or_none, list(places))


def write(place: Location, data: bytes) -> None:
    """Write a file; it appears complete, or not at all.

    Raises:
        OSError: It can't be written; nothing is left of it then.
    """
    if isinstance(place, RemotePath):
        remote.write(place, data)
    else:
        _write_and_rename(place, data)


def write_each(contents: Mapping[Location, bytes]) -> None:
    """Write several files; each appears complete, or not at all.

    Raises:
        OutputError: The first that can't be written.
    """
    _each(lambda place: _write_or_tell(place, contents[place]), list(contents))


class Listings:
    """What lies in folders behind URLs; each is listed once, and not again."""

    def __init__(self) -> None:
        self._names: dict[RemotePath, set[str] | None] = {}
        self._listing = threading.Lock()

    def may_have(self, place: Location) -> bool:
        """Return whether a file may be there; of this machine's, always."""
        if not isinstance(place, RemotePath):
            return True
        with self._listing:
            if place.parent not in self._names:
                try:
                    self._names[place.parent] = remote.names(place.parent)
                except OSError:
                    self._names[place.parent] = None
            names = self._names[place.parent]
        return names is None or place.name in names


def _each(function: Callable[[Location], Value], places: list[Location]) -> list[Value]:
    remotely = all(isinstance(each, RemotePath) and remote.puts_whole(each) for each in places)
    if len(places) < 2 or not remotely:
        return [function(place) for place in places]
    with ThreadPoolExecutor(min(len(places), AT_ONCE)) as pool:
        return list(pool.map(function, places))


def _read_or_none(place: Location) -> bytes | None:
    try:
        return read(place)
    except OSError:
        return None


def _write_or_tell(place: Location, data: bytes) -> None:
    try:
        write(place, data)
    except OSError as error:
        raise OutputError(
            f"can't be written: {remote.reason(error)}",
            str(place),
            "check the space and the permissions there, or give another --output-dir",
        ) from error


def _write_and_rename(path: Path, data: bytes) -> None:
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
