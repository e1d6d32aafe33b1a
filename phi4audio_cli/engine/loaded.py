"""The engine with a model that is loaded, as those see it who have jobs to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeAlias

from phi4audio_cli.engine.backend import Stop
from phi4audio_cli.engine.memory import Memory
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Job

TaskOf: TypeAlias = Callable[[Job], Task]
"""Says what to do with a recording."""


class Engine(Protocol):
    """Does jobs; can be called again when it has done them."""

    def __call__(
        self, jobs: Iterable[Job], task_of: TaskOf, /, *, memory: Memory | None, stop: Stop
    ) -> Generator[Event]:
        """Do jobs, as `flow.run` does."""
        ...
