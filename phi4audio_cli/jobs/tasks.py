"""Which task a recording gets: the run's, or one for its own language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phi4audio_cli.jobs.fingerprint import identity
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job


class Tasks:
    """The tasks of a run, one for each language that a manifest names.

    Args:
        settings: Of the run.
        make: Builds a task from settings.

    Attributes:
        usual: The task of recordings whose language no manifest names.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], Task]) -> None:
        self._settings = settings
        self._make = make
        self.usual = make(settings)
        self._identities: dict[str | None, dict[str, Any]] = {}
        self._made: dict[str | None, Task] = {None: self.usual, settings.language: self.usual}

    def of(self, job: Job) -> Task:
        """Return a recording's task."""
        if job.language not in self._made:
            changed = self._settings.model_copy(update={"language": job.language})
            self._made[job.language] = self._make(changed)
        return self._made[job.language]

    def identity_of(self, job: Job, model: str) -> dict[str, Any]:
        """Return what a recording's answers depend on besides its bytes.

        Args:
            job: The recording.
            model: Fingerprint of the run's model.
        """
        if job.language not in self._identities:
            self._identities[job.language] = identity(self.of(job), self._settings, model)
        return self._identities[job.language]
