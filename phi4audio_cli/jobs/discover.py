"""From what the user named to the recordings meant."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.fetch import check_scheme
from phi4audio_cli.jobs.files import File, find_files
from phi4audio_cli.jobs.inputs import STDIN, Input, Places, input_of, shown
from phi4audio_cli.jobs.manifest import JSON_LINES, Entry, read_entries
from phi4audio_cli.location import is_url, scheme_of


def find_inputs(
    inputs: Sequence[str], *, recursive: bool = False, offline: bool = False
) -> tuple[list[Input], list[UsageError]]:
    """Find the recordings that are meant.

    Args:
        inputs: As the user wrote them: files, folders, patterns that the shell did not expand,
            URLs, `-` for standard input, and lists as `@list.txt` or `@manifest.csv` (the `@` may
            be left out before `.jsonl`). Paths in a list count from its folder. A file that is
            called so itself is written `./-`; one called `@list.txt` goes before the list.
        recursive: Look into the folders of folders too.
        offline: Refuse URLs.

    Returns:
        The recordings in the order of the inputs (a folder's by name), none twice, and a problem
        for each input, line or file that can't be used. Only lists are opened, nothing is fetched.
    """
    finder = _Finder(recursive, offline)
    for each in inputs:
        finder.take(each)
    return list(finder.found.values()), finder.problems


class _Finder:
    """Collects recordings, each once, and problems."""

    def __init__(self, recursive: bool, offline: bool) -> None:
        self.found: dict[str, Input] = {}
        self.problems: list[UsageError] = []
        self._recursive = recursive
        self._offline = offline
        self._places = Places()
        self._schemes: dict[str, UsageError | None] = {}

    def take(self, name: str) -> None:
        """Take what the user wrote."""
        if name == STDIN:
            self._take_standard_input()
        elif is_url(name):
            self._take_url(name)
        elif listed := _list_named(name):
            self._take_list(listed)
        else:
            self._take_path(Path(name))

    def _take_standard_input(self) -> None:
        if sys.stdin is None or sys.stdin.isatty():
            remedy = "pipe a recording into it, or name a file"
            self.problems.append(UsageError("nothing is piped in", "standard input", remedy))
        else:
            self.found.setdefault(STDIN, Input(Path("stdin"), "stdin", url=STDIN))

    def _take_url(self, url: str, entry: Entry | None = None) -> None:
        try:
            self._check_scheme(url)
            found = input_of(url)
        except UsageError as error:
            self.problems.append(_told(error, entry))
        else:
            self.found.setdefault(url, _said(found, entry))

    def _check_scheme(self, url: str) -> None:
        """Check each scheme once: to look for a package that is missing takes time.

        Raises:
            UsageError: It can't be fetched.
        """
        if self._offline:
            remedy = "leave out --offline, or download it first"
            raise UsageError("is not fetched offline", shown(url), remedy)
        scheme = scheme_of(url)
        if scheme not in self._schemes:
            try:
                check_scheme(url)
                self._schemes[scheme] = None
            except UsageError as error:
                self._schemes[scheme] = error
        if problem := self._schemes[scheme]:
            raise UsageError(problem.what, shown(url), problem.remedy)

    def _take_list(self, path: Path) -> None:
        lines = 0
        try:
            for each in read_entries(path):
                lines += 1
                if isinstance(each, UsageError):
                    self.problems.append(each)
                elif is_url(each.path):
                    self._take_url(each.path, each)
                else:
                    self._take_path(path.parent / each.path, each, _root(path.parent, each))
        except UsageError as error:
            self.problems.append(error)
        else:
            if not lines:
                remedy = "write a path or URL a line"
                self.problems.append(UsageError("no recordings in this list", str(path), remedy))

    def _take_path(self, path: Path, entry: Entry | None = None, root: Path | None = None) -> None:
        for each in find_files(path, recursive=self._recursive, suggest=entry is None):
            if isinstance(each, UsageError):
                self.problems.append(_told(each, entry))
            else:
                found = Input(each.path, each.path.name, root=root or each.root)
                self.found.setdefault(self._identity(each), _said(found, entry))

    def _identity(self, file: File) -> str:
        # A link is another name of what it leads to.
        return os.path.realpath(file.path) if file.is_link else self._places.file(file.path)


def _list_named(name: str) -> Path | None:
    """Return the list that is meant, if one is."""
    # `*.wav`, expanded by the shell, may give a recording whose name begins with @.
    if name.startswith("@") and not os.path.lexists(name):
        return Path(name[1:]).expanduser()
    return Path(name) if name.lower().endswith(JSON_LINES) else None


def _root(folder: Path, entry: Entry) -> Path | None:
    path = Path(entry.path)
    return None if path.is_absolute() or ".." in path.parts else folder


def _said(found: Input, entry: Entry | None) -> Input:
    """Add what a list says of a recording."""
    if entry is None:
        return found
    return replace(found, language=entry.language, reference=entry.reference)


def _told(problem: UsageError, entry: Entry | None) -> UsageError:
    """Say in which line of a list a problem lies."""
    if entry is None:
        return problem
    return UsageError(f"{problem.what}: {problem.where}", entry.where, problem.remedy)
