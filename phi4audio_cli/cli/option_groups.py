"""Groups of options for commands that process recordings.

A command has one parameter whose type is a group; `expand_options` turns the fields of the group
into options of the command. A field with the name of a setting sets that setting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from phi4audio_cli.cli import options
from phi4audio_cli.locations import Location, parse_file_location


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What every command has that does a task."""

    recursive: options.Recursive = False
    output_dir: options.OutputDir = None
    output_template: options.OutputTemplate = None
    formats: options.Formats = None
    model: options.Model = None
    adapter: options.Adapter = None
    offline: options.Offline = None
    batch_size: options.BatchSize = None
    readers: options.Readers = None
    channel: options.Channel = None
    track: options.Track = None
    device: options.Device = None
    dtype: options.Dtype = None
    attention: options.Attention = None
    quantize: options.Quantize = None
    config: options.Config = None
    fresh: options.Fresh = False
    shared: options.Shared = False
    shard: options.Shard = None
    cluster: options.Cluster = None
    workers: options.Workers = None
    fail_fast: options.FailFast = False
    strict: options.Strict = False
    report: options.ReportFile = None
    quiet: options.Quiet = False
    verbose: options.Verbose = False

    @property
    def shares_outputs(self) -> bool:
        """Whether other jobs may work on the same output folder."""
        return self.shared or self.shard is not None

    @property
    def report_file(self) -> Location | None:
        """Where the report was asked for.

        Raises:
            UsageError: A URL that names no file.
        """
        return parse_file_location(self.report) if self.report else None


@dataclass(frozen=True, kw_only=True)
class LongFormOptions(TaskOptions):
    """For one text about a whole recording."""

    formats: options.LongFormFormats = None


@dataclass(frozen=True, kw_only=True)
class SpeechOptions(TaskOptions):
    """For what is said, stretch by stretch."""

    language: options.SpokenLanguage = None
    chunk_seconds: options.ChunkSeconds = None
    vad: options.Vad = None
    max_uncovered: options.MaxUncovered = None


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(SpeechOptions):
    """For transcripts and their subtitles."""

    align: options.Align = None
    max_line_width: options.MaxLineWidth = None
    max_lines: options.MaxLines = None
    max_cue_seconds: options.MaxCueSeconds = None
    highlight_words: options.HighlightWords = None


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Spread the group that a command takes into options of its own."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    [group] = (each for each in own if is_dataclass(each.annotation))
    kind: Any = group.annotation
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    spread = [
        inspect.Parameter(
            field.name, group.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]

    def take(**values: Any) -> None:
        taken = kind(**{name: values.pop(name) for name in names})
        command(**values, **{group.name: taken})

    kept = [each.replace(kind=each.KEYWORD_ONLY) for each in own if each is not group]
    take.__signature__ = inspect.Signature([*kept, *spread])  # type: ignore[attr-defined]
    take.__name__, take.__doc__ = command.__name__, command.__doc__
    return take
