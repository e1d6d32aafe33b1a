"""The module of Typer options: cli/setting_options.py.

It is written ahead and not made at start-up, for the commands' help must not import pydantic.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any, get_args

from phi4audio_cli.settings import Settings, setting_option
from tools.make_options.setting_texts import help_text

TYPER_OPTIONS_PATH = "phi4audio_cli/cli/setting_options.py"

HEADER = '''"""The options of settings, written by `python -m tools.make_options` from settings.py.

Defaults are None, so that only values from the command line override the other sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
'''

LINE_WIDTH = 100
INDENT = 8


def typer_options_module() -> str:
    """Return the text of the module."""
    keys = [key for key in Settings.model_fields if setting_option(key).flags]
    listed = "\n".join(["SETTING_KEYS = (", *(f"    {_quote(key)}," for key in keys), ")\n"])
    return "\n".join([HEADER, listed, *map(_typer_option, keys)])


def _typer_option(key: str) -> str:
    option = setting_option(key)
    arguments = [_quote(flag) for flag in option.flags]
    if option.metavar:
        arguments.append(f"metavar={_quote(option.metavar)}")
    arguments.append(f"help={_wrapped_literal(help_text(key))}")
    if _option_type(key) is bool:
        arguments.append("show_default=False")
    lines = [
        f"{alias(key)} = Annotated[",
        f"    {_type_name(key)} | None,",
        "    typer.Option(",
        *(f"{' ' * INDENT}{argument}," for argument in arguments),
        "    ),",
        "]",
    ]
    return "\n".join(lines) + "\n"


def alias(key: str) -> str:
    """Return the name of a setting's option in the module: `BatchSize`."""
    return "".join(part.capitalize() for part in key.split("_"))


def _type_name(key: str) -> str:
    kind = _option_type(key)
    return "list[str]" if kind is list else kind.__name__


def _option_type(key: str) -> type[Any]:
    """Return the type that Typer parses; all that Settings parses itself is text."""
    annotation = Settings.model_fields[key].annotation
    members = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    if Ellipsis in members:  # tuple[str, ...]
        return list
    [kind] = members if len(members) == 1 else [str]
    return kind if kind in (bool, int, float, Path) else str


def _wrapped_literal(text: str) -> str:
    """Return a string literal; a long one in pieces, as the formatter of the project leaves it."""
    whole = _quote(text)
    if INDENT + len(f"help={whole},") <= LINE_WIDTH:
        return whole
    width = LINE_WIDTH - INDENT - len('help=""')
    pieces = textwrap.wrap(text, width - 1, break_on_hyphens=False, break_long_words=False)
    literals = [_quote(f"{piece} ") for piece in pieces[:-1]] + [_quote(pieces[-1])]
    return f"\n{' ' * INDENT}".join(literals)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
