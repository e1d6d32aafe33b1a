"""The settings of a run, each declared once: key, type, limits, default, option and help.

Every value is checked here, so the rest of the program sees valid values only. settings_loader.py
merges the sources of the values.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import AUDIO_LANGUAGES, find_audio_language
from phi4audio_cli.locations import RemotePath, parse_folder_location
from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.types import ENCODER_WINDOW_SECONDS

ENV_PREFIX = "PHI4AUDIO_"

DEFAULT_MODEL = "microsoft/Phi-4-multimodal-instruct"

MAX_READERS = 64
"""Each reader is a process; more of them than this do not keep any device busier."""

MAX_BATCH_SIZE = 1024

MAX_CHUNK_SECONDS = ENCODER_WINDOW_SECONDS
"""The audio encoder's window: longer audio is folded at fixed positions, even inside a word."""


@dataclass(frozen=True, slots=True)
class SettingOption:
    """The texts and flags of a setting that its pydantic field has no place for."""

    flags: tuple[str, ...]
    """As Typer takes them; empty: the command line can't set the key."""
    metavar: str | None = None
    """The name of the option's value in the help; None: the option takes no value."""
    allowed: str | None = None
    """The allowed values; None: those of a Literal, or the limits."""
    default_help: str | None = None
    """The effect of the default; None: the default value explains itself."""
    more: str | None = None
    """Further sentences for the presets and docs/options.md."""


def setting(
    default: Any,
    *flags: str,
    help: str,  # noqa: A002
    metavar: str | None = None,
    allowed: str | None = None,
    default_help: str | None = None,
    more: str | None = None,
    example: Any = None,
    **limits: Any,
) -> Any:
    """Return the pydantic field of a setting.

    `python -m tools.make_options` writes the Typer options, presets and docs/options.md from it.

    Args:
        default: The value where no source sets the key.
        flags: See `SettingOption`, as for metavar, allowed, default_help and more.
        help: The effect of the setting, in sentences; `{allowed}` stands for the allowed values.
        metavar: See flags.
        allowed: See flags.
        default_help: See flags.
        more: See flags.
        example: The value that a preset shows where TOML can't hold the default.
        limits: Constraints of `pydantic.Field`, such as `ge` and `le`.
    """
    option = SettingOption(flags, metavar, allowed, default_help, more)
    examples = None if example is None else [example]
    return Field(
        default, description=help, examples=examples, json_schema_extra=asdict(option), **limits
    )


class Settings(BaseModel):
    """Every setting of a run, checked. Field names are the keys of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = setting(
        DEFAULT_MODEL,
        "--model",
        "-m",
        metavar="MODEL",
        help="Folder, Hugging Face id with optional @revision, or demo: the small bundled "
        "checkpoint, which knows spoken digits only.",
        min_length=1,
    )
    adapter: Path | None = setting(
        None,
        "--adapter",
        metavar="DIR",
        help="Folder of a speech LoRA to use in place of the checkpoint's own.",
        example="my-speech-lora",
    )
    language: str | None = setting(
        None,
        "--language",
        "-l",
        metavar="LANGUAGE",
        help="Spoken language, by English or native name, or by code.",
        default_help="the model detects it",
        more=f"The model transcribes {', '.join(each.name for each in AUDIO_LANGUAGES)}.",
        example="English",
    )
    formats: tuple[str, ...] = setting(
        ("txt", "json", "srt"),
        "--format",
        "-f",
        metavar="NAMES",
        help="Formats to write, separated by commas.",
        default_help="txt,json,srt; for summarize and ask those of txt, md and json that fit",
        min_length=1,
    )
    output_dir: Path | RemotePath | None = setting(
        None,
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Folder for the outputs, or an s3 or gs URL.",
        default_help="the folder of each input",
        example="transcripts",
    )
    output_template: str | None = setting(
        None,
        "--output-template",
        metavar="TEMPLATE",
        help="Names of the outputs, such as {parent}/{stem}.{format}; also {name}, {ext}, {index} "
        "and {language}.",
        default_help="the name of each input",
        example="{parent}/{stem}.{format}",
        min_length=1,
    )
    channel: Literal["mix", "left", "right", "split"] = setting(
        "mix",
        "--channel",
        metavar="NAME",
        help="Channels to use: {allowed}. split: left and right as two speakers of one transcript.",
    )
    track: int | None = setting(
        None,
        "--track",
        metavar="N",
        help="Audio track of a video or container, counted from 0.",
        default_help="the first",
        example=0,
        ge=0,
    )
    batch_size: Literal["auto"] | int = setting(
        "auto",
        "--batch-size",
        "-b",
        metavar="N",
        help="Largest number of chunks of audio that the model works on at once.",
        allowed=f"auto, or a number from 1 to {MAX_BATCH_SIZE}",
        default_help="auto, as many as fit in memory and make the run faster",
        more="auto takes 64 at most.",
    )
    readers: Literal["auto"] | int = setting(
        "auto",
        "--readers",
        metavar="N",
        help="Number of recordings that are decoded and cut at the same time, each in a process "
        "of its own.",
        allowed=f"auto, or a number from 1 to {MAX_READERS}",
        default_help="auto, which is 1 on the CPU",
        more="With a GPU, auto is the number of available cores, 16 at most.",
    )
    chunk_seconds: float = setting(
        MAX_CHUNK_SECONDS,
        "--chunk-seconds",
        metavar="SECONDS",
        help="Length of the longest chunk of audio given to the model at once, {allowed}.",
        more="The window of the audio encoder is 40 seconds. Longer chunks give the model more "
        "context.",
        ge=1,
        le=MAX_CHUNK_SECONDS,
    )
    vad: bool = setting(
        True,
        "--vad/--no-vad",
        help="Detect speech, and leave out audio without speech; otherwise recordings are cut by "
        "energy only.",
    )
    align: Literal["attention", "speech", "none"] = setting(
        "attention",
        "--align",
        metavar="METHOD",
        help="Method for word times: {allowed}.",
        more="attention takes the times from the model's attention weights (one more pass over "
        "the finished text), speech distributes the words over the speech by their length, none "
        "leaves word times out.",
    )
    max_line_width: int = setting(
        42,
        "--max-line-width",
        metavar="N",
        help="Characters in a line of a subtitle, {allowed}.",
        more="A Chinese, Japanese or Korean character counts as 2.6.",
        ge=10,
        le=200,
    )
    max_lines: int = setting(
        2, "--max-lines", metavar="N", help="Lines of a subtitle, {allowed}.", ge=1, le=10
    )
    max_cue_seconds: float = setting(
        7.0,
        "--max-cue-seconds",
        metavar="SECONDS",
        help="Longest time a subtitle is shown, {allowed}.",
        ge=1,
        le=60,
    )
    highlight_words: bool = setting(
        False,
        "--highlight-words/--plain-words",
        help="Mark each word of a subtitle while it is spoken.",
    )
    max_uncovered: float = setting(
        5.0,
        "--max-uncovered",
        metavar="PERCENT",
        help="Warn where more than this percentage of the speech has no text, {allowed}.",
        ge=0,
        le=100,
    )
    device: str = setting(
        "auto",
        "--device",
        "-d",
        metavar="DEVICE",
        help="Device of the model: {allowed}.",
        allowed="auto, cpu, mps, cuda, or one of several GPUs, such as cuda:1",
        more="auto takes an NVIDIA GPU, then an Apple GPU, then the CPU.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = setting(
        "auto",
        "--dtype",
        metavar="TYPE",
        help="Number format of the weights: {allowed}.",
        more="auto is bfloat16 where the device computes it fast. bfloat16 needs 8.6 GB for the "
        "weights, float32 twice that.",
    )
    quantize: Literal["none", "int8", "int4"] = setting(
        "none",
        "--quantize",
        metavar="KIND",
        help="Format of the decoder's linear layers: {allowed}. int8 and int4 need less memory "
        "and give less exact answers.",
        more='none is the dtype. int8 and int4 need pip install "phi4audio[quantize]".',
    )
    offline: bool = setting(
        False,
        "--offline/--online",
        help="Never access the network; the model must already be on this machine.",
    )
    prompts: dict[str, str] = setting(
        {},
        help="Prompts to use in place of the built-in ones, by name.",
        more="docs/tasks.md lists the names. The environment variable holds a JSON object.",
        example={"paragraph": "Summarize the audio."},
    )

    @property
    def cue_style(self) -> CueStyle:
        """How subtitles look."""
        return CueStyle(
            max_line_width=self.max_line_width,
            max_lines=self.max_lines,
            max_cue_seconds=self.max_cue_seconds,
            highlight_words=self.highlight_words,
        )

    @field_validator("formats", mode="before")
    @classmethod
    def _split_formats(cls, value: object) -> object:
        """Accept `txt,json` and `["txt,json", "srt"]`; drop duplicates, keep the order."""
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
            raise ValueError("must be names separated by commas, or a list of names")
        names = (name.strip().lower() for part in parts for name in part.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    @field_validator("prompts", mode="before")
    @classmethod
    def _read_prompts(cls, value: object) -> object:
        """Accept a table of the configuration file, or JSON from the environment."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("must be a JSON object of texts") from error

    @field_validator("adapter")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("output_dir", mode="before")
    @classmethod
    def _parse_output_dir(cls, value: object) -> object:
        try:
            return parse_folder_location(value) if isinstance(value, str | Path) else value
        except UsageError as error:
            raise ValueError(f"{error.what}; {error.remedy}") from error

    @field_validator("batch_size", "readers", mode="before")
    @classmethod
    def _parse_auto_or_count(cls, value: object, field: ValidationInfo) -> object:
        if value == "auto":
            return value
        key = str(field.field_name)
        maximum = MAX_READERS if key == "readers" else MAX_BATCH_SIZE
        if not str(value).isdigit() or not 1 <= int(str(value)) <= maximum:
            raise ValueError(f"must be {setting_option(key).allowed}")
        return int(str(value))

    @field_validator("language")
    @classmethod
    def _normalize_language(cls, value: str | None) -> str | None:
        try:
            return find_audio_language(value).name if value is not None else None
        except UsageError as error:
            raise ValueError(f"{error.what}; {error.remedy}") from error

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        kind, _, number = value.partition(":")
        if kind not in ("auto", "cpu", "mps", "cuda") or (number and not number.isdigit()):
            raise ValueError(f"must be {setting_option('device').allowed}")
        return value


def setting_option(key: str) -> SettingOption:
    """Return the option of a setting."""
    metadata = Settings.model_fields[key].json_schema_extra
    assert isinstance(metadata, dict)
    return SettingOption(**cast("dict[str, Any]", metadata))


def option_name(key: str) -> str:
    """Return the first flag of a setting, or of a key that is not known: `--batch-size`."""
    flags = setting_option(key).flags if key in Settings.model_fields else ()
    return flags[0].split("/")[0] if flags else "--" + key.replace("_", "-")


def environment_variable(key: str) -> str:
    """Return the environment variable of a setting: `PHI4AUDIO_BATCH_SIZE`."""
    return ENV_PREFIX + key.upper()
