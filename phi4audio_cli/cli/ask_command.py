"""The command `phi4audio ask`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import TaskOptions, expand_options
from phi4audio_cli.errors import UsageError

Input = Annotated[
    str,
    typer.Argument(metavar="INPUT", help="A recording, a folder of them, or a quoted pattern."),
]
Question = Annotated[
    str | None,
    typer.Argument(
        metavar="QUESTION",
        help="Question to answer. Default: the question spoken in the recording.",
    ),
]
System = Annotated[
    str,
    typer.Option("--system", metavar="TEXT", help="System prompt, which precedes the question."),
]


@expand_options
def ask(
    recording: Input,
    task_options: TaskOptions,
    question: Question = None,
    system: System = "",
    max_minutes: options.MaxMinutes = 30.0,
) -> None:
    """Answer a question about a recording, or the question that is spoken in it.

    The model takes up to 30 minutes at once; for a longer recording it answers for each part and
    combines the answers. The answer goes to standard output, and into talk.answer.txt and .json.
    """
    from phi4audio_cli.cli.task_command import run_task
    from phi4audio_cli.jobs.task_builders import ask_task

    _reject_file_question(question)
    make_task = partial(ask_task, question=question, system=system, max_minutes=max_minutes)
    raise typer.Exit(run_task([recording], task_options, make_task))


def _reject_file_question(question: str | None) -> None:
    """Notice `ask *.wav "..."`: a second file is not a question.

    Raises:
        UsageError: The question is a file's name.
    """
    try:
        is_file = question is not None and Path(question).exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        is_file = False
    if is_file:
        raise UsageError(
            "a file stands where the question is expected",
            question,
            'give one recording, a folder, or a pattern in quotes: ask "*.wav" "What is said?"',
        )
