"""The command `phi4audio summarize`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import TaskOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings


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
    from phi4audio_cli.cli.task_command import CommandLine, run_task
    from phi4audio_cli.languages import find_language
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.summarize_task import Summarize

    def make_task(settings: Settings) -> Summarize:
        return Summarize(
            style.value,
            prompt=prompt,
            language=find_language(lang, option="--lang").name if lang else None,
            minutes=max_minutes,
            prompts=Prompts.with_overrides(settings.prompts),
        )

    raise typer.Exit(run_task(CommandLine(inputs, task_options), make_task))
