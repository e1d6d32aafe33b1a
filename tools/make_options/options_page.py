"""The page docs/options.md: every option of every command, and every setting."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, get_args

from typer.models import ArgumentInfo, OptionInfo

from phi4audio_cli.cli.app import app
from phi4audio_cli.settings import Settings, environment_variable, setting_option
from tools.make_options.setting_texts import help_text, long_text, toml_value

PAGE = """\
# Options and settings

`python -m tools.make_options` writes this page. `phi4audio COMMAND --help` shows the options of one
command.

## Settings

A setting has an option, an environment variable and a key in a TOML file. An option overrides the
environment, the environment overrides the file, and the file overrides the default. `--config FILE`
or `PHI4AUDIO_CONFIG` names the file: a path, or one of the presets in `configs/` (`default`, `cpu`,
`gpu-8gb`, `gpu-24gb`, `gpu-80gb`), which contain every key with its default.

{settings}

## Options of commands

These options have no key in a TOML file. `strip-export` reads no settings, so all of its options
are in this table.

{options}
"""

HEADS = ("option", "TOML key", "environment variable", "default", "effect", "commands")


@dataclass
class CommandOption:
    """An option or argument, and the commands that have it with the same help and default."""

    flags: tuple[str, ...]
    """As in a help, such as `--config`; for an argument its name."""
    value: str
    """The name of the option's value or its choices; empty: a flag, or an argument."""
    help: str
    default: str
    commands: list[str] = field(default_factory=list)

    @property
    def cell(self) -> str:
        """The flags for a table."""
        last = f"{self.flags[-1]} {self.value}".rstrip()
        return ", ".join(f"`{flag}`" for flag in (*self.flags[:-1], last))


def options_page() -> str:
    """Return the text of the page."""
    options = command_options()
    keys = {help_text(key): key for key in Settings.model_fields if setting_option(key).flags}
    by_key = {keys[each.help]: each for each in options if each.help in keys}
    settings = [_setting_row(key, by_key.get(key)) for key in Settings.model_fields]
    others = [_option_row(each) for each in options if each.help not in keys]
    page = PAGE.replace("{settings}", _table(settings))
    return page.replace("{options}", _table(others))


def command_options() -> list[CommandOption]:
    """Return the options and arguments of all commands; one that several commands have, once."""
    found: dict[tuple[object, ...], CommandOption] = {}
    for name, command in _commands():
        for option in _options_of(command):
            key = (option.flags, option.help, option.default)
            found.setdefault(key, option).commands.append(name)
    return list(found.values())


def _commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    for each in app.registered_commands:
        assert each.callback is not None
        yield each.name or each.callback.__name__.replace("_", "-"), each.callback
    assert app.registered_callback is not None
    assert app.registered_callback.callback is not None
    yield "no command", app.registered_callback.callback


def _options_of(command: Callable[..., Any]) -> Iterator[CommandOption]:
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind, *metadata = get_args(parameter.annotation) or (None,)
        for info in metadata:
            if isinstance(info, OptionInfo | ArgumentInfo):
                yield _command_option(kind, info, parameter.default)


def _command_option(kind: Any, info: OptionInfo | ArgumentInfo, default: Any) -> CommandOption:
    text, cell = info.help or "", _default_cell(default)
    if isinstance(info, ArgumentInfo):
        return CommandOption((str(info.metavar),), "", text, cell)
    # Inside Annotated, Typer takes the first flag for the default until it builds the command.
    declared = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    flags = tuple(flag for each in declared for flag in each.split("/"))
    return CommandOption(flags, info.metavar or _choices(kind), text, cell)


def _choices(kind: Any) -> str:
    """Return the values of an enumeration, or of an optional one; empty for other types."""
    for each in (kind, *get_args(kind)):
        if inspect.isclass(each) and issubclass(each, Enum):
            return "|".join(member.value for member in each)
    return ""


def _default_cell(value: Any) -> str:
    """Return the default; empty where the option is off, or where the help says it."""
    if value in (inspect.Parameter.empty, None, "") or value is False:
        return ""
    if value is True:
        return "on"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _setting_row(key: str, option: CommandOption | None) -> Sequence[str]:
    setting = Settings.model_fields[key]
    return (
        option.cell if option else "none",
        f"`{key}`",
        f"`{environment_variable(key)}`",
        "" if setting.examples else f"`{toml_value(setting.default)}`",
        long_text(key),
        ", ".join(option.commands) if option else "all tasks",
    )


def _option_row(option: CommandOption) -> Sequence[str]:
    variable = f"`{environment_variable('config')}`" if "--config" in option.flags else "none"
    commands = ", ".join(option.commands)
    return (option.cell, "none", variable, option.default, option.help, commands)


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = [HEADS, ["---"] * len(HEADS), *rows]
    return "\n".join(_table_line(line) for line in lines)


def _table_line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
