"""Standard input, output and error of the process: always open, and never the end of a run.

Recordings take hours, and the files are the result. A full disk below standard output, a reader
that ends (`| head`), or a terminal that closes must not stop them: the text is dropped, the run
goes on, and the exit code says that standard output is incomplete.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


def open_closed_descriptors() -> None:
    """Open descriptors 0 to 2 on the null device where the caller closed them (`>&-`).

    Otherwise the next file or pipe of the process gets such a number, and messages are written into
    it, or a subprocess loses it.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The system gives the lowest free number: this one, since those below are open by now.
            os.set_inheritable(os.open(os.devnull, flags), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def tolerate_lost_streams() -> None:
    """Let neither a lost stream nor a character without an encoding end the program."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        if not isinstance(stream, LossTolerantStream):
            setattr(sys, name, LossTolerantStream(stream))


def stdout_error() -> Exception | None:
    """Return why standard output could not take all of its text; None if it took all."""
    sys.stdout.flush()
    return sys.stdout.error if isinstance(sys.stdout, LossTolerantStream) else None


class LossTolerantStream:
    """A text stream that drops its text after the first error.

    Attributes:
        error: The error of the lost text; None: all text was written.

    Args:
        stream: Standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write the buffered text, or drop it."""
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        """Return whether it is a terminal that still exists."""
        return self.error is None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, operation: Callable[[], object]) -> None:
        if self.error is not None:
            return
        try:
            operation()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.error = error
            self._discard()

    def _discard(self) -> None:
        """Point the descriptor to the null device, so that the last flush at exit is silent."""
        try:
            number = self._stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
        except (OSError, ValueError):
            return
        os.dup2(null, number)
        os.close(null)
