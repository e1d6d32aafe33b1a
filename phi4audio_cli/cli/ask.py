"""`phi4audio ask`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.errors import UsageError

Input = Annotated[
    str,
    typer.Argument(metavar="INPUT", help="A recording, a folder of them, or a quoted pattern."),
]
Question = Annotated[
    str | None,
    typer.Argument(metavar="QUESTION", help="Without it, the question spoken in the audio."),
]
System = Annotated[
    str,
    typer.Option("--system", metavar="TEXT", help="What the model is told before the question."),
]


def ask(
    recording: Input,
    question: Question = None,
    system: System = "",
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
    """Answer a question about a recording, or the question that is spoken in it.

    Up to 30 minutes are heard at once; of a longer recording each part is asked, and one answer
    made of theirs. It goes to standard output, and into talk.answer.txt and .json.
    """
    from phi4audio_cli.cli.run import Invocation, run_task
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.ask import Ask
    from phi4audio_cli.tasks.prompts import Prompts

    _refuse_file(question)
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

    def make_task(settings: Settings) -> Ask:
        prompts = Prompts.changed(settings.prompts)
        return Ask(question, system=system, minutes=max_minutes, prompts=prompts)

    call = Invocation([recording], flags, config, recursive=recursive, quiet=quiet, verbose=verbose)
    raise typer.Exit(run_task(call, make_task))


def _refuse_file(question: str | None) -> None:
    """Notice `ask *.wav "..."`: a second file is no question.

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
