"""The formats a command line asks for, and the suffixes of a task's outputs."""

from __future__ import annotations

from collections.abc import Sequence

from phi4audio_cli.errors import UsageError
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.writers import check_format
from phi4audio_cli.writers.output_formats import ALL_FORMATS


def resolve_formats(task: Task, settings: Settings, *, explicit: bool) -> Sequence[str]:
    """Return the formats to write.

    Args:
        task: What the result is made by.
        settings: Their formats may hold for all commands, and so not all be for this task.
        explicit: Whether they were asked for on this very command line.

    Raises:
        UsageError: One was asked for that can't hold the task's result.
    """
    wanted, fitting = settings.formats, task.formats
    if fitting is None:
        return wanted
    if not explicit:
        usual = wanted == Settings.model_fields["formats"].default
        return fitting if usual else [name for name in wanted if name in fitting] or fitting
    if ALL_FORMATS in wanted:
        return fitting
    for name in wanted:
        if name not in fitting:
            check_format(name)
            raise UsageError(
                task.format_error, f"--format {name}", f"it can be {', '.join(fitting)}"
            )
    return wanted


def output_suffixes(task: Task, formats: Sequence[str]) -> list[str]:
    """Return the ends of a task's file names: a format, after a variant where there is one."""
    return [f"{each}.{name}" if each else name for each in task.variants for name in formats]
