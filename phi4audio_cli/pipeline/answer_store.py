"""The interface through which the pipeline looks up and stores answers to resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from phi4audio_cli.types import Generation, Job, Request


class AnswerStore(Protocol):
    """Remembers answers, so that a run that ended early goes on where it stopped.

    `begin` is called in the threads that read recordings, several at a time; `lookup` in the
    thread that feeds the backend, `store` in the caller's.
    """

    def open_recording(self, job: Job, source: Path) -> None:
        """Note that a recording's turn has come.

        Args:
            job: The recording.
            source: The file to read, which is a temporary one where it was fetched.

        Raises:
            Phi4AudioError: It is not to be worked on: it fails with this error.
        """
        ...

    def lookup(self, request: Request) -> Generation | None:
        """Return the answer an earlier run had to this request; None: the backend is asked.

        The answer's `request` must be that very object.
        """
        ...

    def store(self, answer: Generation) -> None:
        """Keep an answer that the backend just gave."""
        ...


class NullAnswerStore:
    """Knows nothing and keeps nothing."""

    def open_recording(self, job: Job, source: Path) -> None:
        """Do nothing."""

    def lookup(self, request: Request) -> Generation | None:
        """Know nothing."""
        return None

    def store(self, answer: Generation) -> None:
        """Keep nothing."""
