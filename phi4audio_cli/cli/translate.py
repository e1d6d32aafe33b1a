"""`phi4audio translate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.messages import complain

if TYPE_CHECKING:
    from phi4audio_cli.languages import Language

Targets = Annotated[
    list[str],
    typer.Option(
        "--lang",
        "-L",
        metavar="LANGUAGES",
        help="Language to translate into, by name or code; several with commas, or the option "
        "again. Each gives files of its own: talk.fr.srt, talk.de.srt.",
    ),
]
WithTranscript = Annotated[
    bool,
    typer.Option("--with-transcript", help="Write what was said into the JSON, too."),
]
Bilingual = Annotated[
    bool,
    typer.Option("--bilingual", help="Show what was said above each subtitle, too."),
]


def translate(
    inputs: options.Inputs,
    targets: Targets,
    with_transcript: WithTranscript = False,
    bilingual: Bilingual = False,
    recursive: options.Recursive = False,
    output_dir: options.OutputDir = None,
    formats: options.Formats = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    language: options.SpokenLanguage = None,
    offline: options.Offline = None,
    batch_size: options.BatchSize = None,
    chunk_seconds: options.ChunkSeconds = None,
    vad: options.Vad = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    attention: options.Attention = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write down in another language what is said in recordings.

    Translations go to standard output in the order of the inputs, and into files, as those of
    transcribe. Decoding, cutting and hearing are done once for all languages.
    """
    from phi4audio_cli.cli.run import Invocation, run_task
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.translate import Translate

    flags = {
        "output_dir": output_dir,
        "formats": formats,
        "model": model,
        "adapter": adapter,
        "language": language,
        "offline": offline,
        "batch_size": batch_size,
        "chunk_seconds": chunk_seconds,
        "vad": vad,
        "device": device,
        "dtype": dtype,
        "attention": attention,
    }

    def make_task(settings: Settings) -> Translate:
        languages = find_targets(targets)
        if not quiet:
            _warn(languages)
        return Translate(
            languages,
            settings.language,
            with_transcript=with_transcript,
            bilingual=bilingual,
            chunk_seconds=settings.chunk_seconds,
            prompts=Prompts.changed(settings.prompts),
        )

    call = Invocation(inputs, flags, config, recursive=recursive, quiet=quiet, verbose=verbose)
    raise typer.Exit(run_task(call, make_task))


def find_targets(names: Sequence[str]) -> list[Language]:
    """Find languages to translate into, none twice, in the order given.

    Raises:
        UsageError: The model writes no such language.
    """
    from phi4audio_cli.languages import find_language

    given = (name for names_ in names for name in names_.split(",") if name.strip())
    return list(dict.fromkeys(find_language(name, option="--lang") for name in given))


def _warn(languages: Sequence[Language]) -> None:
    untrained = ", ".join(each.name for each in languages if not each.audio)
    if untrained:
        complain(
            f"the model writes {untrained} but was not trained to translate speech into it: "
            "look the result over"
        )
