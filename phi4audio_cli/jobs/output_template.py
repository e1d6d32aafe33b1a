"""Names of the output files from a template with fields in braces."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from string import Formatter

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.input_source import STDIN, InputSource, split_url
from phi4audio_cli.locations import Location
from phi4audio_cli.storage import MAX_NAME_BYTES, shorten_name

TEMPLATE_FIELDS = ("stem", "name", "ext", "parent", "index", "language", "format")
"""Fields of an output template, written in {braces}."""


def apply_template(
    template: str,
    inputs: Sequence[InputSource],
    formats: Sequence[str],
    output_dir: Location | None,
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    For `calls/mon/talk.mp3`, found in `calls`, stem is `talk`, name `talk.mp3`, ext `mp3`, parent
    `mon`, and index its number among the recordings from 1 (`{index:04}` pads it). parent is empty
    for a recording named by the user, and host and folders for a URL. language is the code of a
    translation's language, empty for other results; in a template without it, format includes it,
    as `fr.srt`.

    Args:
        template: A path relative to the output folder, such as `{parent}/{stem}.{format}`.
        inputs: The recordings.
        formats: Extensions of the default names: a format, after a language's code (`fr.srt`).
        output_dir: None for the folder that the user named or that of the recording, or the current
            folder for downloads.

    Raises:
        UsageError: An unknown field, a missing format, or a path outside the folder.
    """
    fields = _parse_fields(template)
    if "format" not in fields:
        raise _template_error(template, "lacks {format}", "end it in .{format}")
    fields_by_format = {each: _format_fields(each, "language" in fields) for each in formats}
    outputs = []
    for number, each in enumerate(inputs, 1):
        base, values = _base_folder(each, output_dir), _source_fields(each, number)
        paths = {key: _fill(template, {**values, **more}) for key, more in fields_by_format.items()}
        outputs.append({key: base / path for key, path in paths.items()})
    return outputs


def _parse_fields(template: str) -> set[str]:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _template_error(template, str(error), "write {{ and }} for braces") from error
    names = {name for _, name, _, _ in parsed if name is not None}
    for name in names.difference(TEMPLATE_FIELDS):
        similar = difflib.get_close_matches(name, TEMPLATE_FIELDS, n=1)
        hint = f"did you mean {{{similar[0]}}}? " if similar else ""
        remedy = f"{hint}the fields are {', '.join(TEMPLATE_FIELDS)}"
        raise _template_error(template, f"unknown field {{{name}}}", remedy)
    if any("{" in (spec or "") for _, _, spec, _ in parsed):
        raise _template_error(
            template, "has a field inside a field", "write them one after the other"
        )
    return names


def _base_folder(each: InputSource, output_dir: Location | None) -> Location:
    if output_dir is not None:
        return output_dir
    return Path() if each.url else each.root or each.path.parent


def _format_fields(key: str, has_language_field: bool) -> dict[str, str]:
    language, _, extension = key.rpartition(".")
    return {"language": language, "format": extension if has_language_field else key}


def _source_fields(each: InputSource, number: int) -> dict[str, str | int]:
    name = PurePath(each.name)
    return {
        "stem": name.stem,
        "name": each.name,
        "ext": name.suffix[1:],
        "parent": _parent_field(each),
        "index": number,
    }


def _parent_field(each: InputSource) -> str:
    if each.url == STDIN:
        return ""
    if each.url:
        parent: PurePath = split_url(each.url)[0]
    elif each.root is not None:
        parent = PurePath(os.path.relpath(each.path.parent, each.root))
    else:
        return ""
    return "/".join(parent.parts)


def _fill(template: str, values: dict[str, str | int]) -> PurePath:
    try:
        text = template.format(**values)
    except ValueError as error:
        what = f"can't be filled in: {error}"
        raise _template_error(template, what, "leave out the text after :") from error
    if not values["parent"] and not template.startswith("/"):
        text = text.lstrip("/")  # `{parent}/{stem}` without a parent
    if "\0" in text:
        raise _template_error(
            template, "contains a character that no name may contain", "leave it out"
        )
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or not path.name:
        remedy = "give the folder with --output-dir, and a path below it here"
        raise _template_error(template, f"is outside the output folder: {text}", remedy)
    *folders, name = path.parts
    end = f".{values['format']}"
    end = end if name.endswith(end) else ""
    stem = name.removesuffix(end)
    max_stem = MAX_NAME_BYTES - len(os.fsencode(end))
    return PurePath(*map(shorten_name, folders), shorten_name(stem, max_stem) + end)


def _template_error(template: str, what: str, remedy: str) -> UsageError:
    return UsageError(what, f"--output-template {template}", remedy)
