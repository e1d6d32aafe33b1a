"""The sources of settings: command line, environment, configuration file, presets.

Precedence: flag > `PHI4AUDIO_*` environment variable > configuration file > default.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phi4audio_cli.errors import UsageError
from phi4audio_cli.settings import ENV_PREFIX, Settings, environment_variable, option_name


@dataclass(frozen=True, slots=True)
class _SettingsSource:
    """The values of one source."""

    values: Mapping[str, Any]
    location_template: str
    """How a message names a key; `{option}`, `{variable}` and `{key}` are filled in."""

    def location_of(self, key: str) -> str:
        names = {"option": option_name(key), "variable": environment_variable(key), "key": key}
        # Not str.format: the name of a folder may contain braces.
        location = self.location_template
        for name, text in names.items():
            location = location.replace("{" + name + "}", text)
        return location


def load_settings(
    flags: Mapping[str, Any],
    *,
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
    flag_location: str = "{option}",
) -> Settings:
    """Merge the sources of settings and check the result.

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
    sources = [
        _SettingsSource(
            {key: value for key, value in flags.items() if value is not None}, flag_location
        ),
        _SettingsSource(environment, "{variable}"),
    ]
    if config:
        path = find_config(config)
        sources.append(_SettingsSource(_read_config(path), f"{path}: {{key}}"))
    _reject_unknown_keys(sources)
    merged = {key: value for source in reversed(sources) for key, value in source.values.items()}
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _invalid_value_error(error, sources) from None


def preset_folder() -> Path:
    """Return the folder of the presets: in an installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in preset_folder().glob("*.toml"))


def find_config(config: str) -> Path:
    """Find a configuration file by the name of a preset or by path; a preset wins over a file.

    Raises:
        UsageError: No preset and no file has that name.
    """
    names = preset_names()
    if config in names:
        return preset_folder() / f"{config}.toml"
    path = Path(config).expanduser()
    if path.is_file():
        return path
    problem = "is a folder" if path.is_dir() else "no such preset and no such file"
    remedy = f"{_suggest(config, names)}give a TOML file, or a preset: {', '.join(names)}"
    raise UsageError(problem, f"--config {config}", remedy)


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    # A shell sets a variable to empty text where it can't unset it.
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
        raise UsageError(f"invalid TOML: {error}", str(path), remedy) from error


def _reject_unknown_keys(sources: Sequence[_SettingsSource]) -> None:
    known = list(Settings.model_fields)
    for source in sources:
        for key in source.values:
            if key not in known:
                remedy = f"{_suggest(key, known)}the settings are {', '.join(known)}"
                raise UsageError("unknown setting", source.location_of(key), remedy)


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _invalid_value_error(error: ValidationError, sources: Sequence[_SettingsSource]) -> UsageError:
    """Return an error with the key, the value and the allowed values of the first problem."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    source = next(each for each in sources if key in each.values)
    allowed = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return UsageError(f"invalid value {source.values[key]!r}", source.location_of(key), allowed)
