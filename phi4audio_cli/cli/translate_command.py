"""The command `phi4audio translate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.option_groups import SpeechOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.languages import Language
    from phi4audio_cli.settings import Settings

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
    from phi4audio_cli.cli.task_command import CommandLine, run_task
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.translate_task import Translate

    languages = parse_target_languages(targets)
    if not task_options.quiet:
        _warn_untrained(languages)

    def make_task(settings: Settings) -> Translate:
        return Translate(
            languages,
            settings.language,
            with_transcript=with_transcript,
            bilingual=bilingual,
            chunk_seconds=settings.chunk_seconds,
            prompts=Prompts.with_overrides(settings.prompts),
        )

    raise typer.Exit(run_task(CommandLine(inputs, task_options), make_task))


def parse_target_languages(names: Sequence[str]) -> list[Language]:
    """Find languages to translate into, none twice, in the order given.

    Raises:
        UsageError: The model writes no such language.
    """
    from phi4audio_cli.languages import find_language

    given = (name for names_ in names for name in names_.split(",") if name.strip())
    return list(dict.fromkeys(find_language(name, option="--lang") for name in given))


def _warn_untrained(languages: Sequence[Language]) -> None:
    untrained = ", ".join(each.name for each in languages if not each.audio)
    if untrained:
        print_message(
            f"the model writes {untrained} but was not trained to translate speech into it: "
            "look the result over"
        )
