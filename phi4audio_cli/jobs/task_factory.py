"""Makes the task of each recording: the run's, or one for the recording's own language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phi4audio_cli.jobs.fingerprint import answer_identity
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job


class TaskFactory:
    """The tasks of a run, one per language given by a manifest.

    Args:
        settings: Settings of the run.
        make: Builds a task from settings.

    Attributes:
        default: The task of recordings whose language no manifest gives.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], Task]) -> None:
        self._settings = settings
        self._make = make
        self.default = make(settings)
        self._identities_by_language: dict[str | None, dict[str, Any]] = {}
        self._tasks_by_language: dict[str | None, Task] = {
            None: self.default,
            settings.language: self.default,
        }

    def for_job(self, job: Job) -> Task:
        """Return the task of a recording."""
        if job.language not in self._tasks_by_language:
            changed = self._settings.model_copy(update={"language": job.language})
            self._tasks_by_language[job.language] = self._make(changed)
        return self._tasks_by_language[job.language]

    def identity_of(self, job: Job, model: str) -> dict[str, Any]:
        """Return everything a recording's answers depend on except its bytes.

        Args:
            job: The recording.
            model: Fingerprint of the run's model.
        """
        if job.language not in self._identities_by_language:
            self._identities_by_language[job.language] = answer_identity(
                self.for_job(job), self._settings, model
            )
        return self._identities_by_language[job.language]
