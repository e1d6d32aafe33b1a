"""Output names by the user's own pattern (`--output-template`)."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from string import Formatter

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.inputs import STDIN, Input, split_url
from phi4audio_cli.jobs.naming import LONGEST_NAME, fitted
from phi4audio_cli.location import Location

FIELDS = ("stem", "name", "ext", "parent", "index", "language", "format")
"""What may stand in a template, in {braces}."""


def fill_template(
    template: str, inputs: Sequence[Input], formats: Sequence[str], output_dir: Location | None
) -> list[dict[str, Location]]:
    """Return the outputs of each recording, by format.

    Of `calls/mon/talk.mp3`, found in `calls`: stem is `talk`, name `talk.mp3`, ext `mp3`, parent
    `mon`, index its number among the recordings from 1 (`{index:04}` pads it). parent is empty for
    a recording that was named itself, and host and folders for a URL. language is the code of a
    translation's language, empty for other results; a template without it has it in format, as
    `fr.srt`.

    Args:
        template: Such as `{parent}/{stem}.{format}`, that is a path below the output folder.
        inputs: The recordings.
        formats: Ends of the usual names: a format, with a language's code before it (`fr.srt`).
        output_dir: None: the template counts from the folder the user named or, where a recording
            was named, from that one's; what is fetched goes to the current folder.

    Raises:
        UsageError: A field that isn't known, none for the format, or a path out of the folder.
    """
    fields = _fields(template)
    if "format" not in fields:
        raise _refused(template, "lacks {format}", "end it in .{format}")
    ends = {end: _ending(end, "language" in fields) for end in formats}
    outputs = []
    for number, each in enumerate(inputs, 1):
        base, values = _base(each, output_dir), _values(each, number)
        paths = {end: _filled(template, {**values, **more}) for end, more in ends.items()}
        outputs.append({end: base / path for end, path in paths.items()})
    return outputs


def _fields(template: str) -> set[str]:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _refused(template, str(error), "write {{ and }} for braces") from error
    names = {name for _, name, _, _ in parsed if name is not None}
    for name in names.difference(FIELDS):
        near = difflib.get_close_matches(name, FIELDS, n=1)
        hint = f"did you mean {{{near[0]}}}? " if near else ""
        raise _refused(template, f"has no field {{{name}}}", f"{hint}known are {', '.join(FIELDS)}")
    if any("{" in (spec or "") for _, _, spec, _ in parsed):
        raise _refused(template, "has a field inside a field", "write each by itself")
    return names


def _base(each: Input, output_dir: Location | None) -> Location:
    if output_dir is not None:
        return output_dir
    return Path() if each.url else each.root or each.path.parent


def _ending(end: str, apart: bool) -> dict[str, str]:
    language, _, form = end.rpartition(".")
    return {"language": language, "format": form if apart else end}


def _values(each: Input, number: int) -> dict[str, str | int]:
    name = PurePath(each.name)
    return {
        "stem": name.stem,
        "name": each.name,
        "ext": name.suffix[1:],
        "parent": _parent(each),
        "index": number,
    }


def _parent(each: Input) -> str:
    if each.url == STDIN:
        return ""
    if each.url:
        parent: PurePath = split_url(each.url)[0]
    elif each.root is not None:
        parent = PurePath(os.path.relpath(each.path.parent, each.root))
    else:
        return ""
    return "/".join(parent.parts)


def _filled(template: str, values: dict[str, str | int]) -> PurePath:
    try:
        text = template.format(**values)
    except ValueError as error:
        raise _refused(
            template, f"can't be filled in: {error}", "leave out what follows :"
        ) from error
    if not values["parent"] and not template.startswith("/"):
        text = text.lstrip("/")  # {parent}/{stem} means {stem} then
    if "\0" in text:
        raise _refused(template, "holds what no name can hold", "leave it out")
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or not path.name:
        remedy = "give the folder with --output-dir, and a path below it here"
        raise _refused(template, f"leads out of the output folder: {text}", remedy)
    *folders, name = path.parts
    end = f".{values['format']}"
    end = end if name.endswith(end) else ""
    stem = name.removesuffix(end)
    room = LONGEST_NAME - len(os.fsencode(end))
    return PurePath(*map(fitted, folders), fitted(stem, room) + end)


def _refused(template: str, what: str, remedy: str) -> UsageError:
    return UsageError(what, f"--output-template {template}", remedy)
