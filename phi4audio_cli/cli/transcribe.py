"""`phi4audio transcribe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from phi4audio_cli.cli import options

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.tasks.task import Task


def transcribe(
    inputs: options.Inputs,
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
    align: options.Align = None,
    max_line_width: options.MaxLineWidth = None,
    max_lines: options.MaxLines = None,
    max_cue_seconds: options.MaxCueSeconds = None,
    highlight_words: options.HighlightWords = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    attention: options.Attention = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write down what is said in recordings.

    Transcripts go to standard output in the order of the inputs, and into files.
    Progress and messages go to standard error.
    """
    from phi4audio_cli.cli.run import Invocation, run_task

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
        "align": align,
        "max_line_width": max_line_width,
        "max_lines": max_lines,
        "max_cue_seconds": max_cue_seconds,
        "highlight_words": highlight_words,
        "device": device,
        "dtype": dtype,
        "attention": attention,
    }
    call = Invocation(inputs, flags, config, recursive=recursive, quiet=quiet, verbose=verbose)
    raise typer.Exit(run_task(call, _make_task))


def _make_task(settings: Settings) -> Task:
    from phi4audio_cli.tasks.prompts import Prompts
    from phi4audio_cli.tasks.transcribe import Transcribe

    return Transcribe(
        settings.language,
        chunk_seconds=settings.chunk_seconds,
        align=settings.align,
        prompts=Prompts.changed(settings.prompts),
    )
