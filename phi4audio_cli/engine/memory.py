"""What is known of answers from an earlier run, and where new ones are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from phi4audio_cli.types import Generation, Job, Request


class Memory(Protocol):
    """Remembers answers, so that a run that ended early goes on where it stopped.

    `begin` is called in the threads that read recordings, several at a time; `recall` in the
    thread that feeds the backend, `record` in the caller's.
    """

    def begin(self, job: Job, source: Path) -> None:
        """Note that a recording's turn has come.

        Args:
            job: The recording.
            source: The file to read, which is a temporary one where it was fetched.

        Raises:
            Phi4AudioError: It is not to be worked on: it fails with this error.
        """
        ...

    def recall(self, request: Request) -> Generation | None:
        """Return the answer an earlier run had to this request; None: the backend is asked.

        The answer's `request` must be that very object.
        """
        ...

    def record(self, answer: Generation) -> None:
        """Keep an answer that the backend just gave."""
        ...


class NoMemory:
    """Knows nothing and keeps nothing."""

    def begin(self, job: Job, source: Path) -> None:
        """Do nothing."""

    def recall(self, request: Request) -> Generation | None:
        """Know nothing."""
        return None

    def record(self, answer: Generation) -> None:
        """Keep nothing."""
