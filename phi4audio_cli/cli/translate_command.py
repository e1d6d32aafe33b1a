"""The command `phi4audio translate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.option_groups import SpeechOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.languages import Language

Targets = Annotated[
    list[str],
    typer.Option(
        "--lang",
        "-L",
        metavar="LANGUAGES",
        help="Language to translate into, by name or code; for several, separate them by commas "
        "or repeat the option. Each language has its own files: talk.fr.srt, talk.de.srt.",
    ),
]
WithTranscript = Annotated[
    bool,
    typer.Option("--with-transcript", help="Include the transcript in the JSON."),
]
Bilingual = Annotated[
    bool,
    typer.Option("--bilingual", help="Show the transcript above each subtitle, too."),
]


@expand_options
def translate(
    inputs: options.Inputs,
    targets: Targets,
    task_options: SpeechOptions,
    with_transcript: WithTranscript = False,
    bilingual: Bilingual = False,
) -> None:
    """Translate the speech in recordings.

    Translations go to standard output in the order of the inputs, and into files, like those of
    transcribe. Audio is decoded, cut and encoded once for all languages.
    """
    from phi4audio_cli.cli.task_command import run_task
    from phi4audio_cli.jobs.task_builders import find_target_languages, translate_task

    languages = find_target_languages(targets, option="--lang")
    if not task_options.quiet:
        _warn_untrained(languages)
    make_task = partial(
        translate_task,
        to=[language.name for language in languages],
        with_transcript=with_transcript,
        bilingual=bilingual,
    )
    raise typer.Exit(run_task(inputs, task_options, make_task))


def _warn_untrained(languages: Sequence[Language]) -> None:
    untrained = ", ".join(each.name for each in languages if not each.audio)
    if untrained:
        print_message(
            f"the model writes {untrained} but was not trained to translate speech into it: "
            "look the result over"
        )
