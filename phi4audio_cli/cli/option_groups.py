"""Groups of options that commands share.

A command has one parameter whose type is a group; `expand_options` turns the fields of the group
into options of the command. A field with the name of a setting sets that setting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from phi4audio_cli.cli import options, setting_options
from phi4audio_cli.locations import Location, parse_file_location

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Options of a command that reads settings."""

    config: options.Config = None

    @property
    def flags(self) -> dict[str, Any]:
        """The settings given on the command line, by key; None for the others."""
        keys = setting_options.SETTING_KEYS
        return {key: getattr(self, key) for key in keys if hasattr(self, key)}

    def load_settings(self) -> Settings:
        """Merge the command line with the other sources of settings.

        Raises:
            UsageError: A file that can't be read, an unknown key, or an invalid value.
        """
        from phi4audio_cli.settings_loader import load_settings

        return load_settings(self.flags, config=self.config)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(SettingsOptions):
    """Options of a command that loads a model."""

    model: setting_options.Model = None
    adapter: setting_options.Adapter = None
    offline: setting_options.Offline = None
    device: setting_options.Device = None
    dtype: setting_options.Dtype = None
    quantize: setting_options.Quantize = None


@dataclass(frozen=True, kw_only=True)
class OutputOptions(SettingsOptions):
    """Options of a command that writes output files."""

    output_dir: setting_options.OutputDir = None
    output_template: setting_options.OutputTemplate = None
    formats: setting_options.Formats = None


@dataclass(frozen=True, kw_only=True)
class SubtitleOptions(SettingsOptions):
    """Options of a command that writes subtitles."""

    max_line_width: setting_options.MaxLineWidth = None
    max_lines: setting_options.MaxLines = None
    max_cue_seconds: setting_options.MaxCueSeconds = None
    highlight_words: setting_options.HighlightWords = None


@dataclass(frozen=True, kw_only=True)
class TaskOptions(ModelOptions, OutputOptions):
    """Options of a command that does a task on recordings."""

    recursive: options.Recursive = False
    channel: setting_options.Channel = None
    track: setting_options.Track = None
    batch_size: setting_options.BatchSize = None
    readers: setting_options.Readers = None
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
        """The file or URL of the report, if one is given.

        Raises:
            UsageError: A URL without the name of a file.
        """
        return parse_file_location(self.report) if self.report else None


@dataclass(frozen=True, kw_only=True)
class SpeechOptions(TaskOptions):
    """Options of a task whose results have segments with times."""

    language: setting_options.Language = None
    chunk_seconds: setting_options.ChunkSeconds = None
    vad: setting_options.Vad = None
    max_uncovered: setting_options.MaxUncovered = None


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(SpeechOptions, SubtitleOptions):
    """Options of `transcribe`."""

    align: setting_options.Align = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ModelOptions):
    """Options of `eval`."""

    language: setting_options.Language = None
    batch_size: setting_options.BatchSize = None
    readers: setting_options.Readers = None
    chunk_seconds: setting_options.ChunkSeconds = None
    vad: setting_options.Vad = None


@dataclass(frozen=True, kw_only=True)
class RenderOptions(OutputOptions, SubtitleOptions):
    """Options of `render`."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ModelOptions):
    """Options of `bench`."""

    batch_size: setting_options.BatchSize = None
    chunk_seconds: setting_options.ChunkSeconds = None


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(ModelOptions):
    """Options of `doctor`."""

    output_dir: setting_options.OutputDir = None


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the group parameter of a command with one option for each field of the group."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    [group] = (each for each in parameters if is_dataclass(each.annotation))
    kind: Any = group.annotation
    hints = get_type_hints(kind, include_extras=True)
    names = sorted((field.name for field in fields(kind)), key=_help_order)

    def expanded_command(**values: Any) -> None:
        options_of_group = kind(**{name: values.pop(name) for name in names})
        command(**values, **{group.name: options_of_group})

    own = [each.replace(kind=each.KEYWORD_ONLY) for each in parameters if each is not group]
    of_group = [
        inspect.Parameter(
            name, group.KEYWORD_ONLY, default=getattr(kind, name), annotation=hints[name]
        )
        for name in names
    ]
    signature = inspect.Signature([*own, *of_group])
    expanded_command.__signature__ = signature  # type: ignore[attr-defined]
    expanded_command.__name__, expanded_command.__doc__ = command.__name__, command.__doc__
    return expanded_command


def _help_order(name: str) -> int:
    """Return the place of an option in the help: settings first, in their order."""
    keys = setting_options.SETTING_KEYS
    return keys.index(name) if name in keys else len(keys)
