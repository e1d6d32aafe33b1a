"""The command `phi4audio render`."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4audio_cli.cli import options

Transcripts = Annotated[
    list[str],
    typer.Argument(
        metavar="JSON", help="Transcripts in JSON, files or URLs, as phi4audio writes them."
    ),
]


def render(
    transcripts: Transcripts,
    formats: options.Formats = None,
    output_dir: options.OutputDir = None,
    output_template: options.OutputTemplate = None,
    max_line_width: options.MaxLineWidth = None,
    max_lines: options.MaxLines = None,
    max_cue_seconds: options.MaxCueSeconds = None,
    highlight_words: options.HighlightWords = None,
    config: options.Config = None,
) -> None:
    """Make any format again from transcripts in JSON, without the model.

    A transcript that can't be read is told, and the others are done. In --output-template {stem}
    and {name} are the JSON file's.
    """
    from phi4audio_cli.cli.console import print_message
    from phi4audio_cli.errors import ExitCode, FileError, UsageError
    from phi4audio_cli.jobs.download import open_local_copy
    from phi4audio_cli.jobs.input_source import parse_input
    from phi4audio_cli.jobs.output_paths import plan_jobs
    from phi4audio_cli.pipeline.output_writer import render_all
    from phi4audio_cli.settings import load_settings
    from phi4audio_cli.storage import check_location, write_all
    from phi4audio_cli.writers.transcript_reader import read_transcript

    flags = {
        "formats": formats,
        "output_dir": output_dir,
        "output_template": output_template,
        "max_line_width": max_line_width,
        "max_lines": max_lines,
        "max_cue_seconds": max_cue_seconds,
        "highlight_words": highlight_words,
    }
    settings = load_settings(flags, config=config)
    # The JSON is there already; it is written again only where it was asked for.
    wanted = [name for name in settings.formats if name != "json" or formats]
    code = ExitCode.OK
    check_location(settings.output_dir)
    inputs = list(map(parse_input, transcripts))
    for job in plan_jobs(inputs, wanted, settings.output_dir, settings.output_template):
        try:
            with open_local_copy(job) as file:
                transcript, metadata = read_transcript(file)
        except (FileError, UsageError) as error:
            print_message(str(error))
            code = ExitCode.USAGE
            continue
        write_all(render_all(job, transcript, metadata, settings.cue_style))
        for path in job.outputs.values():
            typer.echo(path)
    raise typer.Exit(code)
