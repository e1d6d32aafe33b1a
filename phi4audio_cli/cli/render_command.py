"""The command `phi4audio render`."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4audio_cli.cli.option_groups import RenderOptions, expand_options

Transcripts = Annotated[
    list[str],
    typer.Argument(metavar="JSON", help="Transcripts in JSON that phi4audio wrote: files or URLs."),
]


@expand_options
def render(transcripts: Transcripts, render_options: RenderOptions) -> None:
    """Write other formats from transcripts in JSON, without the model.

    A transcript that can't be read is reported, and the others are written. In --output-template,
    {stem} and {name} are those of the JSON file.
    """
    from phi4audio_cli.cli.console import print_message
    from phi4audio_cli.errors import ExitCode, FileError, UsageError
    from phi4audio_cli.jobs.download import open_local_copy
    from phi4audio_cli.jobs.input_source import parse_input
    from phi4audio_cli.jobs.output_paths import plan_jobs
    from phi4audio_cli.pipeline.output_writer import render_all
    from phi4audio_cli.storage import check_location, write_all
    from phi4audio_cli.writers.transcript_json import read_transcript

    settings = render_options.load_settings()
    # A transcript in JSON exists already; it is written again only if the user asks for it.
    wanted = [name for name in settings.formats if name != "json" or render_options.formats]
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
