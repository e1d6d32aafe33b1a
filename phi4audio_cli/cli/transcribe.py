"""`phi4audio transcribe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.groups import TranscribeOptions, takes_group

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.task import Task


@takes_group
def transcribe(inputs: options.Inputs, given: TranscribeOptions) -> None:
    """Write down what is said in recordings.

    Transcripts go to standard output in the order of the inputs, and into files.
    Progress and messages go to standard error. What was done before is not done again: the same
    command goes on where it stopped.
    """
    from phi4audio_cli.cli.run import Invocation, run_task

    raise typer.Exit(run_task(Invocation(inputs, given), _make_task))


def _make_task(settings: Settings) -> Task:
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.transcribe import Transcribe

    return Transcribe(
        settings.language,
        chunk_seconds=settings.chunk_seconds,
        align=settings.align,
        prompts=Prompts.changed(settings.prompts),
    )
