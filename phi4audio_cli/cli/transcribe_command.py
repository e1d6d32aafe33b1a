"""The command `phi4audio transcribe`."""

from __future__ import annotations

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import TranscribeOptions, expand_options


@expand_options
def transcribe(inputs: options.Inputs, task_options: TranscribeOptions) -> None:
    """Transcribe recordings.

    Transcripts go to standard output in the order of the inputs, and into files. Progress and
    messages go to standard error. Run the same command again to continue an interrupted run.
    """
    from phi4audio_cli.cli.task_command import run_task
    from phi4audio_cli.jobs.task_builders import transcribe_task

    raise typer.Exit(run_task(inputs, task_options, transcribe_task))
