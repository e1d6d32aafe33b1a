"""The journal of one recording behind a URL, where nothing can be added to a file or locked.

Its lines are those of a local one. They are kept in memory and put there as a whole: some seconds
after an answer, and when the recording is done or left.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from phi4audio_cli.jobs.journal import Pages, as_line
from phi4audio_cli.jobs.store import read, write
from phi4audio_cli.location import RemotePath

PUT_SECONDS = 10.0
"""How old an answer gets before it is put: so much work a kill may cost."""


class RemoteJournal:
    """A journal that is put as a whole. Made by `claim`.

    Two jobs may have the same one: the last put stays, and each put is a journal in itself.
    """

    def __init__(self, place: RemotePath, data: bytes) -> None:
        self.pages = Pages.of(data)
        self._place = place
        self._lines = bytearray(data[: self.pages.length])
        self._unsaved = False
        self._failed: OSError | None = None
        self._timer: threading.Timer | None = None
        self._changing = threading.Lock()
        self._putting = threading.Lock()

    @classmethod
    def claim(cls, place: RemotePath) -> RemoteJournal:
        """Read a recording's journal, or begin one; what can't be believed is left out.

        Raises:
            OSError: It can't be read.
        """
        try:
            return cls(place, read(place))
        except (FileNotFoundError, PermissionError):  # who may not list is refused what isn't there
            return cls(place, b"")

    def restart(self, header: Mapping[str, Any]) -> None:
        """Forget all, and begin with another header; it is put with the first answer."""
        self.pages = Pages((), 0)
        with self._changing:
            self._lines = bytearray(as_line("header", header))

    def add(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add a line. It is put soon; `done` at once.

        Raises:
            OSError: It, or one before it, can't be put.
        """
        line = as_line(kind, entry)
        with self._changing:
            if self._failed:
                raise self._failed
            self._lines += line
            self._unsaved = True
            if self._timer is None and kind != "done":
                self._timer = threading.Timer(PUT_SECONDS, self._put_later)
                self._timer.daemon = True
                self._timer.start()
        if kind == "done":
            self._put()

    def close(self) -> None:
        """Let go of it; what isn't put yet is put now, if it can be."""
        with suppress(OSError):  # what can't be put is asked again
            self._put()

    def _put_later(self) -> None:
        try:
            self._put()
        except OSError as error:
            self._failed = error

    def _put(self) -> None:
        with self._putting:  # an older state must not come after a newer one
            with self._changing:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                data = bytes(self._lines) if self._unsaved else b""
                self._unsaved = False
            if data:
                try:
                    write(self._place, data)
                except BaseException:
                    self._unsaved = True  # closing it tries once more
                    raise
