"""Where an output lies: a path of this machine, or a place behind a URL. Names only, no access."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeAlias

from phi4audio_cli.errors import UsageError

HOME = ".phi4audio"
"""Folder for what a job keeps beside its outputs."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # one letter is a drive of Windows
_HALF_URL = re.compile(r"(s3a?|gc?s|az|abfss?|oss|hdfs|memory|file):/(?!/)", re.IGNORECASE)
_TOP = PurePosixPath()


@dataclass(frozen=True, slots=True, repr=False)
class RemotePath:
    """A place below a URL. It has those of `Path`'s ways that outputs are named by."""

    root: str
    """The URL the user gave, without a slash at its end."""
    key: PurePosixPath = _TOP
    """The place below it. Kept apart: a recording's name may hold what means more in a URL."""

    def __truediv__(self, below: str | PurePath) -> RemotePath:
        # Keys are UTF-8; names from a file system may hold bytes that are none.
        name = PurePath(below).as_posix().encode(errors="backslashreplace").decode()
        return RemotePath(self.root, self.key / name)

    def __str__(self) -> str:
        """Return it for messages and reports: without user and password."""
        return "/".join([without_secrets(self.root), *self.key.parts])

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


def locate_folder(text: str | Path) -> Location:
    """Return the folder a path or URL means; `file://` means this machine.

    Raises:
        UsageError: A URL that names no place, or half a URL.
    """
    name = str(text)
    if _HALF_URL.match(name):
        scheme, _, rest = name.partition(":")
        remedy = f"write {scheme}://{rest.lstrip('/')}, or ./{name} for a folder"
        raise UsageError("this is half a URL", name, remedy)
    if not is_url(name):
        return Path(text).expanduser()
    scheme, place = scheme_of(name), name.partition("://")[2]
    if not place.strip("/"):
        remedy = f"write {scheme}://bucket/folder"
        raise UsageError("this URL names no place", without_secrets(name), remedy)
    if scheme in ("file", "local"):
        return Path(place)
    return RemotePath(name.rstrip("/"))


def locate_file(text: str | Path) -> Location:
    """Return the file a path or URL means.

    Raises:
        UsageError: As `locate_folder`.
    """
    place = locate_folder(text)
    if isinstance(place, Path):
        return place
    root, _, name = place.root.rpartition("/")
    if root.endswith(("/", ":")):
        raise UsageError("this URL names no file", str(place), f"write {place}/report.json")
    return RemotePath(root) / name


def is_url(text: str) -> bool:
    """Return whether this is a URL and no path."""
    return _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """Return `https` of `HTTPS://example.org`."""
    return url.partition("://")[0].lower()


def without_secrets(url: str) -> str:
    """Return a URL for messages and reports: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    if scheme.lower() in ("abfs", "abfss"):  # Azure's containers stand where others have users
        return f"{scheme}{separator}{host}{slash}{path}"
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
