"""The journal of one recording: what was answered, as it came, so that nothing is asked twice.

Lines are only ever added. Each is a checksum (CRC-32, eight hexadecimal digits), a space and a
JSON object with one entry: first the `header`, which says what the answers depend on; then an
`answer` each; then `done`, with the result. What follows a torn or damaged line is not believed.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from phi4audio_cli.jobs.lock import try_lock
from phi4audio_cli.jobs.store import read
from phi4audio_cli.location import Location

SYNC_SECONDS = 1.0
"""How much work a power cut may cost; a crash of the program costs none."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What can be believed of a journal."""

    lines: Sequence[bytes]
    """The JSON of each line, not parsed yet."""
    length: int
    """Bytes of those lines in the file."""

    @classmethod
    def of(cls, data: bytes) -> Pages:
        """Read lines until one is torn or damaged."""
        lines: list[bytes] = []
        length = 0
        for line in data.splitlines(keepends=True):
            content = _checked(line)
            if content is None:
                break
            lines.append(content)
            length += len(line)
        return cls(lines, length)

    @property
    def header(self) -> Mapping[str, Any] | None:
        """What the answers depend on; None where there is no journal."""
        return _entry(self.lines[0], "header") if self.lines else None

    @property
    def done(self) -> Mapping[str, Any] | None:
        """The result; None where the recording is not finished."""
        return _entry(self.lines[-1], "done") if self.lines else None

    def answers(self) -> dict[str, Mapping[str, Any]]:
        """Return the answers by their requests' keys."""
        found = (_entry(line, "answer") for line in self.lines)
        return {entry["key"]: entry for entry in found if entry}


class Journal:
    """A journal that belongs to this process as long as it is open. Made by `claim`."""

    def __init__(self, file: BinaryIO, pages: Pages) -> None:
        self._file = file
        self._synced = time.monotonic()
        self.pages = pages

    @classmethod
    def claim(cls, path: Path) -> Journal | None:
        """Open a recording's journal, or begin one; cut off what can't be believed.

        Returns:
            None where another job has it.

        Raises:
            OSError: It can't be read or written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        try:
            if not try_lock(file):
                file.close()
                return None
            file.seek(0)
            pages = Pages.of(file.read())
            file.truncate(pages.length)
        except BaseException:
            file.close()
            raise
        return cls(file, pages)

    def restart(self, header: Mapping[str, Any]) -> None:
        """Forget all, and begin with another header.

        Raises:
            OSError: It can't be written.
        """
        self._file.truncate(0)
        self.pages = Pages((), 0)
        self.add("header", header)

    def add(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add a line. It outlives the process at once, and a power cut after a second.

        Raises:
            OSError: It can't be written; nothing may be added then.
        """
        self._file.write(as_line(kind, entry))
        self._file.flush()
        if kind == "done" or time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of it; others may claim it."""
        try:
            self._file.close()
        except OSError:  # what was not written was told when it was to be
            return


def as_line(kind: str, entry: Mapping[str, Any]) -> bytes:
    """Return an entry as journals hold it."""
    content = json.dumps({kind: entry}).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def read_pages(place: Location) -> Pages:
    """Read a journal without claiming it; it is empty where there is none, or it can't be read."""
    try:
        return Pages.of(read(place))
    except OSError:
        return Pages((), 0)


def _checked(line: bytes) -> bytes | None:
    checksum, _, content = line.removesuffix(b"\n").partition(b" ")
    whole = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(content)
    return content if whole else None


def _entry(line: bytes, kind: str) -> Mapping[str, Any] | None:
    entry: Any = json.loads(line).get(kind)
    return entry if isinstance(entry, dict) else None
