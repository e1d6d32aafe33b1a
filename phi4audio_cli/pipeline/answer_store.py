"""The interface through which the pipeline looks up and stores answers to resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from phi4audio_cli.types import Generation, Job, Request


class AnswerStore(Protocol):
    """Stores answers, so that a run that ended early resumes where it stopped.

    `open_recording` is called in the reader threads, several at a time, `lookup` in the thread
    that feeds the backend, and `store` in the caller's thread.
    """

    def open_recording(self, job: Job, source: Path) -> None:
        """Prepare for the requests of a recording.

        Args:
            job: The recording.
            source: Its file, a temporary one if the recording was fetched.

        Raises:
            Phi4AudioError: The recording must not be processed: it fails with this error.
        """
        ...

    def lookup(self, request: Request) -> Generation | None:
        """Return the stored answer to a request; None: the backend must answer it.

        The answer's `request` must be the same object.
        """
        ...

    def store(self, answer: Generation) -> None:
        """Store an answer of the backend."""
        ...


class NullAnswerStore:
    """Stores nothing."""

    def open_recording(self, job: Job, source: Path) -> None:
        """Do nothing."""

    def lookup(self, request: Request) -> Generation | None:
        """Return None."""
        return None

    def store(self, answer: Generation) -> None:
        """Do nothing."""
