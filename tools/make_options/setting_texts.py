"""The sentences about a setting, put together from its field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le

from phi4audio_cli.settings import Settings, setting_option


def help_text(key: str) -> str:
    """Return the help of the option: effect, allowed values and default."""
    default = setting_option(key).default_help or _default_on_command_line(key)
    return f"{effect(key)} Default: {default}." if default else effect(key)


def long_text(key: str) -> str:
    """Return all sentences, for a page that shows the default value next to them."""
    option = setting_option(key)
    default = f"Default: {option.default_help}." if option.default_help else None
    return " ".join(filter(None, (effect(key), default, option.more)))


def effect(key: str) -> str:
    """Return the effect of a setting with the allowed values filled in."""
    text = str(Settings.model_fields[key].description)
    return text.replace("{allowed}", allowed_values(key))


def allowed_values(key: str) -> str:
    """Return the allowed values: `mix, left or right`, `1 to 40`; empty: no list and no range."""
    explicit = setting_option(key).allowed
    if explicit:
        return explicit
    field = Settings.model_fields[key]
    if get_origin(field.annotation) is Literal:
        return join_names([str(choice) for choice in get_args(field.annotation)])
    least = [limit.ge for limit in field.metadata if isinstance(limit, Ge)]
    most = [limit.le for limit in field.metadata if isinstance(limit, Le)]
    return f"{least[0]:g} to {most[0]:g}" if least and most else ""


def join_names(names: Sequence[str]) -> str:
    """Return `mix, left or right`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def toml_value(value: Any) -> str:
    """Return a value as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case tuple() | list():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            items = (f"{name} = {toml_value(each)}" for name, each in value.items())
            return f"{{ {', '.join(items)} }}"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _default_on_command_line(key: str) -> str:
    """Return the default as a user would type it; empty: the option is off without its flag."""
    default = Settings.model_fields[key].default
    match default:
        case None | False:
            return ""
        case True:
            return setting_option(key).flags[0].split("/")[0]
        case int() | float():
            return f"{default:g}"
        case _:
            return str(default)
