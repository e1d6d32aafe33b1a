"""Transcripts on standard output, in the order of the inputs, and nothing else there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from phi4audio_cli.cli.messages import discard_stdout
from phi4audio_cli.types import Job


class OrderedOutput:
    """Prints texts in order of their jobs' index, whatever order they come in.

    When the reader of standard output goes away (`| head`), the texts are dropped and the run
    goes on: its files are still wanted.

    Args:
        aside: Makes room on the terminal while something is printed.
    """

    def __init__(self, aside: Callable[[Job], AbstractContextManager[object]]) -> None:
        self._aside = aside
        self._waiting: dict[int, tuple[Job, str | None]] = {}
        self._next = 0
        self._closed = False

    def put(self, job: Job, text: str | None) -> None:
        """Print a text as soon as those before it are out; None or empty: nothing to print."""
        self._waiting[job.index] = job, text
        while self._next in self._waiting:
            next_job, ready = self._waiting.pop(self._next)
            self._next += 1
            if ready and not self._closed:
                self._print(next_job, ready)

    def _print(self, job: Job, text: str) -> None:
        try:
            with self._aside(job):
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
        except BrokenPipeError:
            self._closed = True
            discard_stdout()
