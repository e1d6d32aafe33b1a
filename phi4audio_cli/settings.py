"""What the user can set, and where each value comes from.

Precedence: flag > `PHI4AUDIO_*` environment variable > configuration file > default. Every value
is checked here, so the rest of the program never meets a bad one.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_audio_language
from phi4audio_cli.locations import RemotePath, parse_folder_location
from phi4audio_cli.text.cues import CueStyle

ENV_PREFIX = "PHI4AUDIO_"

DEFAULT_MODEL = "microsoft/Phi-4-multimodal-instruct"

MAX_READERS = 64
"""More recordings at once than this keep no device busier, and each takes a process."""

MAX_BATCH_SIZE = 1024

MAX_CHUNK_SECONDS = 40.0
"""The audio encoder's window: longer audio is folded at fixed places, words or not."""


class Settings(BaseModel):
    """Every setting of a run, checked. Field names are the keys of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(DEFAULT_MODEL, min_length=1)
    """A folder, a hub id with optional `@revision`, or `demo`."""
    adapter: Path | None = None
    """Folder of a speech LoRA to use in place of the checkpoint's own."""
    language: str | None = None
    """English name of the spoken language; None lets the model find out."""
    formats: tuple[str, ...] = Field(("txt", "json", "srt"), min_length=1)
    output_dir: Path | RemotePath | None = None
    """None: beside each input."""
    output_template: str | None = Field(None, min_length=1)
    """How outputs are named; None: after their recordings."""
    channel: Literal["mix", "left", "right", "split"] = "mix"
    """What is heard of several channels; split: left and right as two speakers."""
    track: int | None = Field(None, ge=0)
    """Which audio stream of a container; None: the first."""
    batch_size: Literal["auto"] | int = "auto"
    """Most chunks that are worked on at once; auto: as many as fit the memory and pay."""
    readers: Literal["auto"] | int = "auto"
    """Recordings that are decoded and cut at the same time, each in a process of its own."""
    chunk_seconds: float = Field(MAX_CHUNK_SECONDS, ge=1, le=MAX_CHUNK_SECONDS)
    vad: bool = True
    """Whether speech is searched for; without it recordings are cut by energy only."""
    align: Literal["attention", "speech", "none"] = "attention"
    """Where word times come from."""
    max_line_width: int = Field(42, ge=10, le=200)
    """Letters in a line of a subtitle; a full-width character counts as 2.6."""
    max_lines: int = Field(2, ge=1, le=10)
    max_cue_seconds: float = Field(7.0, ge=1, le=60)
    highlight_words: bool = False
    """Whether subtitles mark each word as it is said."""
    max_uncovered: float = Field(5.0, ge=0, le=100)
    """Percent of the speech that may be without text before it is a warning."""
    device: str = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = "auto"
    quantize: Literal["none", "int8", "int4"] = "none"
    """How the decoder's linear layers are stored; none: in `dtype`."""
    offline: bool = False
    """Never touch the network."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """Instructions to use in place of the usual ones, by name (tasks/prompts.py)."""

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
        """Take `txt,json` and `["txt,json", "srt"]`; drop doubles, keep the order."""
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
            raise ValueError("must be names with commas between, or a list of names")
        names = (name.strip().lower() for part in parts for name in part.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    @field_validator("prompts", mode="before")
    @classmethod
    def _read_prompts(cls, value: object) -> object:
        """Take a table of the configuration file, or JSON from the environment."""
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
        most = MAX_READERS if field.field_name == "readers" else MAX_BATCH_SIZE
        if value == "auto":
            return value
        if not str(value).isdigit() or not 1 <= int(str(value)) <= most:
            raise ValueError(f"must be auto, or a number from 1 to {most}")
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
            raise ValueError("must be auto, cpu, mps, cuda, or one of several, as cuda:1")
        return value


@dataclass(frozen=True, slots=True)
class _SettingsSource:
    """The values of one source."""

    values: Mapping[str, Any]
    location_template: str
    """How a message says where a key stands; `{option}`, `{variable}` and `{key}` are filled in."""

    def location_of(self, key: str) -> str:
        option = "--format" if key == "formats" else "--" + key.replace("_", "-")
        names = {"option": option, "variable": ENV_PREFIX + key.upper(), "key": key}
        # Not str.format: a folder's name may hold braces.
        place = self.location_template
        for name, text in names.items():
            place = place.replace("{" + name + "}", text)
        return place


def load_settings(
    flags: Mapping[str, Any],
    *,
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
    flag_location: str = "{option}",
) -> Settings:
    """Put the settings of a run together.

    Args:
        flags: Values from the command line, by key; None means not given.
        config: Path of a TOML file or name of a preset; None: `PHI4AUDIO_CONFIG`, or no file.
        environ: The environment; None: the process's own.
        flag_location: Names a flag in messages: `{option}` as on the command line, or `{key}`.

    Raises:
        UsageError: A file that can't be read, an unknown key, or a value that isn't allowed.
    """
    environment = _read_environment(os.environ if environ is None else environ)
    from_environment = environment.pop("config", None)
    config = config or from_environment
    layers = [
        _SettingsSource(
            {key: value for key, value in flags.items() if value is not None}, flag_location
        ),
        _SettingsSource(environment, "{variable}"),
    ]
    if config:
        path = find_config(config)
        layers.append(_SettingsSource(_read_config(path), f"{path}: {{key}}"))
    _reject_unknown_keys(layers)
    merged = {key: value for layer in reversed(layers) for key, value in layer.values.items()}
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _invalid_value_error(error, layers) from None


def preset_folder() -> Path:
    """Return where the presets lie: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def preset_names() -> list[str]:
    """Return the names that `--config` takes besides paths, sorted."""
    return sorted(path.stem for path in preset_folder().glob("*.toml"))


def find_config(config: str) -> Path:
    """Find a configuration file by a preset's name or by path; the name wins over a file.

    Raises:
        UsageError: There is neither.
    """
    names = preset_names()
    if config in names:
        return preset_folder() / f"{config}.toml"
    path = Path(config).expanduser()
    if path.is_file():
        return path
    problem = "it is a folder" if path.is_dir() else "no such preset, and no such file"
    remedy = f"{_suggest(config, names)}give a TOML file, or a preset: {', '.join(names)}"
    raise UsageError(problem, f"--config {config}", remedy)


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    # An empty variable is the shell's way of saying "not set".
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and value
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = error.strerror or str(error)
        raise UsageError(f"can't be read: {problem}", str(path), "check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        remedy = 'write each setting as key = value, text in "quotes"'
        raise UsageError(f"is not TOML: {error}", str(path), remedy) from error


def _reject_unknown_keys(sources: Sequence[_SettingsSource]) -> None:
    known = list(Settings.model_fields)
    for layer in sources:
        for key in layer.values:
            if key not in known:
                remedy = f"{_suggest(key, known)}known are {', '.join(known)}"
                raise UsageError("unknown setting", layer.location_of(key), remedy)


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _invalid_value_error(error: ValidationError, sources: Sequence[_SettingsSource]) -> UsageError:
    """Say the first problem in a user's words: key, value, what is allowed."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    layer = next(each for each in sources if key in each.values)
    allowed = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    value = layer.values[key]
    return UsageError(f"{value!r} can't be used", layer.location_of(key), allowed)
