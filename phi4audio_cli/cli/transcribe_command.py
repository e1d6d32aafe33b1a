"""The command `phi4audio transcribe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import TranscribeOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.task import Task


@expand_options
def transcribe(inputs: options.Inputs, task_options: TranscribeOptions) -> None:
    """Transcribe recordings.

    Transcripts go to standard output in the order of the inputs, and into files. Progress and
    messages go to standard error. Run the same command again to continue an interrupted run.
    """
    from phi4audio_cli.cli.task_command import CommandLine, run_task

    raise typer.Exit(run_task(CommandLine(inputs, task_options), _make_task))


def _make_task(settings: Settings) -> Task:
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.transcribe_task import Transcribe

    return Transcribe(
        settings.language,
        chunk_seconds=settings.chunk_seconds,
        align=settings.align,
        prompts=Prompts.with_overrides(settings.prompts),
    )
