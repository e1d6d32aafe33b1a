"""The command `phi4audio summarize`."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import TaskOptions, expand_options


class StyleName(StrEnum):
    """The form of a summary."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    MINUTES = "minutes"
    HEADLINE = "headline"


Style = Annotated[
    StyleName,
    typer.Option(
        "--style", help="A paragraph, bullet points, points with their times, or one line."
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="Prompt to use in place of the prompt of --style."
    ),
]
SummaryLanguage = Annotated[
    str | None,
    typer.Option(
        "--lang", "-L", metavar="LANGUAGE", help="Language of the summary, by name or code."
    ),
]


@expand_options
def summarize(
    inputs: options.Inputs,
    task_options: TaskOptions,
    style: Style = StyleName.PARAGRAPH,
    prompt: Instruction = None,
    lang: SummaryLanguage = None,
    max_minutes: options.MaxMinutes = 30.0,
) -> None:
    """Summarize recordings.

    The model takes up to 30 minutes at once; a longer recording is summarized in parts, cut at
    pauses, and then as a whole from those. Summaries go to standard output, and into
    talk.summary.txt, .md and .json.
    """
    from phi4audio_cli.cli.task_command import run_task
    from phi4audio_cli.jobs.task_builders import summarize_task
    from phi4audio_cli.languages import find_language

    make_task = partial(
        summarize_task,
        style=style.value,
        prompt=prompt,
        to=find_language(lang, option="--lang").name if lang else None,
        max_minutes=max_minutes,
    )
    raise typer.Exit(run_task(inputs, task_options, make_task))
