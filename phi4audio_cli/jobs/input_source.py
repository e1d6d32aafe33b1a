"""One input recording as the user named it, and local names for URLs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from phi4audio_cli.errors import UsageError
from phi4audio_cli.locations import Location, RemotePath, is_url, redact_url, url_scheme
from phi4audio_cli.types import Job

STDIN = "-"
"""Stands for standard input in place of a URL."""

_FILE_URL = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_INVALID_NAME_CHARS = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class InputSource:
    """One recording, named by the user or found for a name."""

    path: Path
    """The file. A recording to download has only its name here."""
    name: str
    """File name with extension; outputs are named after it."""
    url: str | None = None
    """URL to download it from when its turn comes; `STDIN` for standard input."""
    language: str | None = None
    """English name of its spoken language, if a manifest gives it."""
    reference: str | None = None
    """Reference transcript, if a manifest gives it."""
    root: Path | None = None
    """The named folder in which it was found; None if the user named the recording itself."""


def parse_input(name: str) -> InputSource:
    """Return the one recording or transcript that a path or URL names, without accessing it.

    Raises:
        UsageError: A URL without a host, or a `file://` URL with another one.
    """
    if is_file_url(name):
        path = path_of_file_url(name)
        return InputSource(path, path.name)
    if not is_url(name):
        return InputSource(Path(name), Path(name).name)
    file_name = split_url(name)[1]
    return InputSource(Path(file_name), file_name, url=name)


def is_file_url(name: str) -> bool:
    """Return whether a name is a URL of a local file: `file:///a.wav` or `file:/a.wav`."""
    return _FILE_URL.fullmatch(name) is not None


def path_of_file_url(name: str) -> Path:
    """Return the local path of a URL of which `is_file_url` is true (RFC 8089).

    File managers encode characters as `%20`. A file of the literal name takes precedence.

    Raises:
        UsageError: It names another host.
    """
    match = _FILE_URL.fullmatch(name)
    assert match is not None
    if (match["host"] or "localhost").lower() != "localhost":
        raise UsageError("this URL names a file of another host", name, "write file:///folder/name")
    literal = match["path"]
    decoded = os.fsdecode(unquote_to_bytes(os.fsencode(literal)))
    return Path(literal if os.path.lexists(literal) else decoded)


def split_url(url: str) -> tuple[PurePosixPath, str]:
    """Return the host and folders of a URL as a relative path, and the name of its file.

    Queries are left out: they contain signatures that change from day to day.

    Raises:
        UsageError: An invalid URL, or one without a host.
    """
    parts = url.partition("://")[2].split("/")
    if url_scheme(url) in ("http", "https"):
        try:
            split = urlsplit(url)
        except ValueError as error:
            what = f"invalid URL: {error}"
            raise UsageError(what, display_url(url), "check its spelling") from error
        parts = [split.hostname or "", *map(unquote, split.path.split("/"))]
    names = [_INVALID_NAME_CHARS.sub("_", part) for part in parts if part not in ("", ".", "..")]
    if not names or not parts[0]:
        raise UsageError("this URL names no host", display_url(url), "check its spelling")
    return PurePosixPath(*names[:-1]), names[-1]


def display_url(url: str) -> str:
    """Return a URL for messages and reports: without user, password and query."""
    return "standard input" if url == STDIN else redact_url(url)


def display_name(job: Job) -> str:
    """Return the user's name for a job's recording, for messages and reports."""
    return display_url(job.url) if job.url else str(job.source)


class PathResolver:
    """Canonical paths of files; each folder is resolved once, however many files it contains."""

    def __init__(self) -> None:
        self._resolved_folders: dict[str, str] = {}

    def resolve_folder(self, path: Location | str) -> str:
        """Return the canonical path of a folder, which need not exist."""
        if isinstance(path, RemotePath):
            return str(path)
        name = os.fspath(path)
        if name not in self._resolved_folders:
            self._resolved_folders[name] = os.path.realpath(name)
        return self._resolved_folders[name]

    def resolve_file(self, path: Location) -> str:
        """Return the path of a file, which need not exist, in its canonical folder.

        A file that is a link stays a link.
        """
        if isinstance(path, RemotePath):
            return str(path)
        folder, name = os.path.split(path)
        return f"{self.resolve_folder(folder)}/{name}"
