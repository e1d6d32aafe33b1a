"""Registry of the output formats. A format's name is the extension of its files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from phi4audio_cli.errors import UsageError
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Document, Metadata, Transcript, Translation
from phi4audio_cli.writers import (
    ass,
    long_form_output,
    markdown,
    plain_text,
    srt,
    transcript_json,
    translation,
    vtt,
)

Writer: TypeAlias = Callable[[Transcript, Metadata], str]
"""Renders a result as the text of its file, with LF line ends."""

SUBTITLE_WRITERS: Mapping[str, Callable[[Transcript, Metadata, CueStyle], str]] = MappingProxyType(
    {"srt": srt.render, "vtt": vtt.render, "ass": ass.render}
)
"""Writers of subtitle formats, by name."""

FORMATS: Mapping[str, Writer] = MappingProxyType(
    {
        "txt": plain_text.render_txt,
        "json": transcript_json.render,
        "srt": srt.render,
        "vtt": vtt.render,
        "tsv": plain_text.render_tsv,
        "ass": ass.render,
        "md": markdown.render,
    }
)
"""All writers, by the name of their format."""

ALL_FORMATS = "all"
"""Name that stands for every format."""


def expand_formats(names: Sequence[str]) -> list[str]:
    """Replace `all` by the names of all formats, and drop duplicates.

    Args:
        names: Format names, with a variant of the result before a dot if it has several
            (`fr.all`).
    """
    expanded: list[str] = []
    for name in names:
        variant, dot, form = name.rpartition(".")
        forms = list(FORMATS) if form == ALL_FORMATS else [form]
        expanded += [f"{variant}{dot}{each}" for each in forms]
    return list(dict.fromkeys(expanded))


def check_format(name: str) -> None:
    """Check the name of a format, for results of any kind.

    Raises:
        UsageError: The format is unknown; the message names the nearest.
    """
    find_writer(name)


def find_writer(name: str, style: CueStyle = DEFAULT_STYLE) -> Writer:
    """Return the writer of a format.

    Args:
        name: Name of the format.
        style: Style of the cues, for subtitle formats.

    Raises:
        UsageError: The format is unknown; the message names the nearest.
    """
    if subtitles := SUBTITLE_WRITERS.get(name):
        return lambda result, metadata: subtitles(result, metadata, style)
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
    style: CueStyle = DEFAULT_STYLE,
) -> str:
    """Return the content of a result's file in one format.

    Raises:
        UsageError: The format is unknown, or not available for this kind of result.
    """
    if not isinstance(result, Transcript | Translation):
        return long_form_output.render(format, result, metadata)
    writer = find_writer(format, style)
    if isinstance(result, Translation):
        return translation.render(format, writer, result, metadata, style)
    return writer(result, metadata)
