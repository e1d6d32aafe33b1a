"""Which formats there are. A format's name is its files' extension too."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Document, Metadata, Transcript, Translation
from phi4audio_cli.writers import json, overview, srt, translation, txt

Writer: TypeAlias = Callable[[Transcript, Metadata], str]
"""From a result to the text of its file: UTF-8 to be, lines that end in LF."""

FORMATS: Mapping[str, Writer] = MappingProxyType(
    {"txt": txt.render, "json": json.render, "srt": srt.render}
)
"""Every format's writer by its name."""


def check_format(name: str) -> None:
    """Check that there is a format of this name, for results of whatever kind.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name not in overview.FORMATS:
        find_writer(name)


def find_writer(name: str) -> Writer:
    """Return the writer of a format.

    Raises:
        UsageError: No such format; the message names the nearest.
    """
    if writer := FORMATS.get(name):
        return writer
    near = difflib.get_close_matches(name.lower().lstrip("."), FORMATS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    known = ", ".join(FORMATS)
    raise UsageError("no such output format", f"--format {name}", f"{hint}it knows {known}")


def render(
    format: str,  # noqa: A002 (the word users know)
    result: Document,
    metadata: Metadata,
) -> str:
    """Return the content of a result's file in one format.

    Raises:
        UsageError: No such format, or not for this kind of result.
    """
    if not isinstance(result, Transcript | Translation):
        return overview.render(format, result, metadata)
    writer = find_writer(format)
    if isinstance(result, Translation):
        return translation.render(format, writer, result, metadata)
    return writer(result, metadata)
