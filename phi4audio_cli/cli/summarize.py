"""`phi4audio summarize`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from phi4audio_cli.cli import options


class StyleName(StrEnum):
    """What a summary looks like."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    MINUTES = "minutes"
    HEADLINE = "headline"


Style = Annotated[
    StyleName,
    typer.Option(help="A paragraph, bullet points, points with their times, or one line."),
]
Instruction = Annotated[
    str | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="What to say to the model in place of the style's words."
    ),
]
SummaryLanguage = Annotated[
    str | None,
    typer.Option(
        "--lang", "-L", metavar="LANGUAGE", help="Language of the summary, by name or code."
    ),
]


def summarize(
    inputs: options.Inputs,
    style: Style = StyleName.PARAGRAPH,
    prompt: Instruction = None,
    lang: SummaryLanguage = None,
    max_minutes: options.MaxMinutes = 30.0,
    recursive: options.Recursive = False,
    output_dir: options.OutputDir = None,
    formats: options.OverviewFormats = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    offline: options.Offline = None,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    attention: options.Attention = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Say what recordings are about.

    Up to 30 minutes are heard at once; a longer recording is summarized in parts, cut at pauses,
    and then as a whole from those. Summaries go to standard output, and into talk.summary.txt,
    .md and .json.
    """
    from phi4audio_cli.cli.run import Invocation, run_task
    from phi4audio_cli.languages import find_language
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.summarize import Summarize

    flags = {
        "output_dir": output_dir,
        "formats": formats,
        "model": model,
        "adapter": adapter,
        "offline": offline,
        "batch_size": batch_size,
        "device": device,
        "dtype": dtype,
        "attention": attention,
    }

    def make_task(settings: Settings) -> Summarize:
        return Summarize(
            style.value,
            prompt=prompt,
            language=find_language(lang, option="--lang").name if lang else None,
            minutes=max_minutes,
            prompts=Prompts.changed(settings.prompts),
        )

    call = Invocation(inputs, flags, config, recursive=recursive, quiet=quiet, verbose=verbose)
    raise typer.Exit(run_task(call, make_task))
