"""The formats of a run and the suffixes of its output files."""

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
        task: The task that makes the results.
        settings: Of the run; formats from a file or the environment may be for other tasks.
        explicit: Whether the command line gives the formats.

    Raises:
        UsageError: The command line gives a format that can't hold the result of the task.
    """
    requested, supported = settings.formats, task.formats
    if supported is None:
        return requested
    if not explicit:
        is_default = requested == Settings.model_fields["formats"].default
        usable = [name for name in requested if name in supported]
        return supported if is_default else usable or supported
    if ALL_FORMATS in requested:
        return supported
    for name in requested:
        if name not in supported:
            check_format(name)
            remedy = f"it can be {', '.join(supported)}"
            raise UsageError(task.format_error, f"--format {name}", remedy)
    return requested


def output_suffixes(task: Task, formats: Sequence[str]) -> list[str]:
    """Return the suffixes of a task's files: a format, after a variant if the task has any."""
    return [f"{each}.{name}" if each else name for each in task.variants for name in formats]
