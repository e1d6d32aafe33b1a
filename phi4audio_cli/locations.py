"""Locations of files and folders: local paths, and paths below a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeAlias

from phi4audio_cli.errors import UsageError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # a single letter is a Windows drive
_MALFORMED_URL = re.compile(r"(s3a?|gc?s|az|abfss?|oss|hdfs|memory|file):/(?!/)", re.IGNORECASE)
_ROOT_KEY = PurePosixPath()


@dataclass(frozen=True, slots=True, repr=False)
class RemotePath:
    """A path below a URL, with the part of the interface of `Path` that outputs need."""

    root: str
    """The URL given by the user, without a slash at its end."""
    key: PurePosixPath = _ROOT_KEY
    """Path below the root, apart from it: names of recordings may contain URL syntax."""

    def __truediv__(self, below: str | PurePath) -> RemotePath:
        # Keys are UTF-8; names from a file system may contain other bytes.
        name = PurePath(below).as_posix().encode(errors="backslashreplace").decode()
        return RemotePath(self.root, self.key / name)

    def __str__(self) -> str:
        """Return the URL for messages and reports: without user and password."""
        return "/".join([redact_url(self.root), *self.key.parts])

    __repr__ = __str__

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.name

    @property
    def suffix(self) -> str:
        """The extension of the name, with its dot."""
        return self.key.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that contains it; the parent of the root is the root."""
        return RemotePath(self.root, self.key.parent)

    def with_suffix(self, suffix: str) -> RemotePath:
        """Return the path with another extension."""
        return RemotePath(self.root, self.key.with_suffix(suffix))


Location: TypeAlias = Path | RemotePath
"""A local path, or one below a URL."""


def parse_folder_location(text: str | Path) -> Location:
    """Return the folder that a path or URL names; `file://` is local.

    Raises:
        UsageError: An incomplete URL.
    """
    name = str(text)
    if _MALFORMED_URL.match(name):
        scheme, _, rest = name.partition(":")
        remedy = f"write {scheme}://{rest.lstrip('/')}, or ./{name} for a folder"
        raise UsageError("incomplete URL", name, remedy)
    if not is_url(name):
        return Path(text).expanduser()
    scheme, path = url_scheme(name), name.partition("://")[2]
    if not path.strip("/"):
        remedy = f"write {scheme}://bucket/folder"
        raise UsageError("this URL names no bucket or folder", redact_url(name), remedy)
    if scheme in ("file", "local"):
        return Path(path)
    return RemotePath(name.rstrip("/"))


def parse_file_location(text: str | Path) -> Location:
    """Return the file that a path or URL names.

    Raises:
        UsageError: An incomplete URL.
    """
    location = parse_folder_location(text)
    if isinstance(location, Path):
        return location
    root, _, name = location.root.rpartition("/")
    if root.endswith(("/", ":")):
        raise UsageError("this URL names no file", str(location), f"write {location}/report.json")
    return RemotePath(root) / name


def is_url(text: str) -> bool:
    """Return whether a text is a URL, not a path."""
    return _URL.match(text) is not None


def url_scheme(url: str) -> str:
    """Return `https` for `HTTPS://example.org`."""
    return url.partition("://")[0].lower()


def redact_url(url: str) -> str:
    """Return a URL for messages and reports: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    if scheme.lower() in ("abfs", "abfss"):  # Azure writes container@account
        return f"{scheme}{separator}{host}{slash}{path}"
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
