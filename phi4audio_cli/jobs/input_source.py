"""One input recording as the user named it, and local names for URLs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from phi4audio_cli.errors import UsageError
from phi4audio_cli.storage import Location, RemotePath, is_url, redact_url, url_scheme
from phi4audio_cli.types import Job

STDIN = "-"
"""Stands for standard input where a URL could stand."""

_INVALID_NAME_CHARS = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class InputSource:
    """One recording the user named, in whatever way."""

    path: Path
    """The file. What is fetched first has its name alone here: nothing lies there."""
    name: str
    """What its outputs are named after, with its extension."""
    url: str | None = None
    """Where it is fetched from when its turn comes; `STDIN` for standard input."""
    language: str | None = None
    """English name of its spoken language, where a manifest says it."""
    reference: str | None = None
    """What is said in it, where a manifest says it."""
    root: Path | None = None
    """The folder the user named, in which it was found; None: the recording itself was named."""


def parse_input(name: str) -> InputSource:
    """Return the one recording or transcript that a path or URL names; nothing is looked up.

    Raises:
        UsageError: A URL that names no host.
    """
    if not is_url(name):
        return InputSource(Path(name), Path(name).name)
    end = split_url(name)[1]
    return InputSource(Path(end), end, url=name)


def split_url(url: str) -> tuple[PurePosixPath, str]:
    """Return a URL's host and folders as a folder's name, and the name of its file.

    Queries are left out: they hold signatures that change from day to day.

    Raises:
        UsageError: It names no host, or none that could be.
    """
    place = url.partition("://")[2]
    parts = place.split("/")
    if url_scheme(url) in ("http", "https"):
        try:
            split = urlsplit(url)
        except ValueError as error:
            raise UsageError(
                f"no URL: {error}", display_url(url), "check how it is written"
            ) from error
        parts = [split.hostname or "", *map(unquote, split.path.split("/"))]
    names = [_INVALID_NAME_CHARS.sub("_", part) for part in parts if part not in ("", ".", "..")]
    if not names or not parts[0]:
        raise UsageError("this URL names no host", display_url(url), "check how it is written")
    return PurePosixPath(*names[:-1]), names[-1]


def display_url(url: str) -> str:
    """Return a URL for messages and reports: without user, password and query."""
    return "standard input" if url == STDIN else redact_url(url)


def display_name(job: Job) -> str:
    """Return what the user called a job's recording, for messages and reports."""
    return display_url(job.url) if job.url else str(job.source)


class PathResolver:
    """The one name of each file; a folder is looked up once, however many files it has."""

    def __init__(self) -> None:
        self._resolved_folders: dict[str, str] = {}

    def resolve_folder(self, path: Location | str) -> str:
        """Return a folder's one name; it need not be there."""
        if isinstance(path, RemotePath):
            return str(path)
        name = os.fspath(path)
        if name not in self._resolved_folders:
            self._resolved_folders[name] = os.path.realpath(name)
        return self._resolved_folders[name]

    def resolve_file(self, path: Location) -> str:
        """Return the one name of a file that need not be there; a link stays one."""
        if isinstance(path, RemotePath):
            return str(path)
        folder, name = os.path.split(path)
        return f"{self.resolve_folder(folder)}/{name}"
