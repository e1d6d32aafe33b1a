"""The output formats by name. A format's name is also the extension of its files."""

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
"""From a result to the text of its file: UTF-8 to be, lines that end in LF."""

SUBTITLE_WRITERS: Mapping[str, Callable[[Transcript, Metadata, CueStyle], str]] = MappingProxyType(
    {"srt": srt.render, "vtt": vtt.render, "ass": ass.render}
)
"""Writers that make cues, by name."""

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
"""Every format's writer by its name."""

ALL_FORMATS = "all"
"""Stands for every format."""


def expand_formats(names: Sequence[str]) -> list[str]:
    """Return names of formats, each once, with all of them where `all` is.

    Args:
        names: With a variant of the result before them where it has several (`fr.all`).
    """
    expanded: list[str] = []
    for name in names:
        variant, dot, form = name.rpartition(".")
        forms = list(FORMATS) if form == ALL_FORMATS else [form]
        expanded += [f"{variant}{dot}{each}" for each in forms]
    return list(dict.fromkeys(expanded))


def check_format(name: str) -> None:
    """Check that there is a format of this name, for results of whatever kind.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    find_writer(name)


def find_writer(name: str, style: CueStyle = DEFAULT_STYLE) -> Writer:
    """Return the writer of a format.

    Args:
        name: Of the format.
        style: How cues look; without meaning for formats that have none.

    Raises:
        UsageError: No such format; the message names the nearest.
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
        UsageError: No such format, or not for this kind of result.
    """
    if not isinstance(result, Transcript | Translation):
        return long_form_output.render(format, result, metadata)
    writer = find_writer(format, style)
    if isinstance(result, Translation):
        return translation.render(format, writer, result, metadata, style)
    return writer(result, metadata)
