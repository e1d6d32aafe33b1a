"""Transcripts on standard output, in the order of the inputs, and nothing else there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from phi4audio_cli.cli.messages import discard_stdout


class OrderedOutput:
    """Prints texts in order of their index, whatever order they come in.

    When the reader of standard output goes away (`| head`), the texts are dropped and the run
    goes on: its files are still wanted.

    Args:
        aside: Makes room on the terminal while something is printed.
    """

    def __init__(self, aside: Callable[[], AbstractContextManager[object]]) -> None:
        self._aside = aside
        self._waiting: dict[int, str | None] = {}
        self._next = 0
        self._closed = False

    def put(self, index: int, text: str | None) -> None:
        """Print a text as soon as those before it are out; None or empty: nothing to print."""
        self._waiting[index] = text
        while self._next in self._waiting:
            ready = self._waiting.pop(self._next)
            self._next += 1
            if ready and not self._closed:
                self._print(ready)

    def _print(self, text: str) -> None:
        try:
            with self._aside():
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
        except BrokenPipeError:
            self._closed = True
            discard_stdout()
