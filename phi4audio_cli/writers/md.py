"""Markdown to read and to search: paragraphs, each with the time it begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phi4audio_cli.text.breaks import Break, break_after
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers.overview import clock
from phi4audio_cli.writers.speakers import prefix

PAUSE_SECONDS = 2.0
"""A pause this long begins a paragraph."""

PARAGRAPH_SECONDS = 30.0
"""After so long, the next sentence end ends one."""

SPECIAL = re.compile(r"[\\`*_\[\]<>&~#|]")
"""What Markdown may take for markup inside a line."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return a heading, the recording's name, and the paragraphs."""
    blocks = [f"# {_escaped(metadata.source)}", *map(_paragraph, _paragraphs(result.segments))]
    return "\n\n".join(blocks) + "\n"


def _paragraphs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    held: list[Segment] = []
    for segment in segments:
        if held and _ends(held, segment):
            yield held
            held = []
        if segment.text.strip():
            held.append(segment)
    if held:
        yield held


def _ends(held: Sequence[Segment], following: Segment) -> bool:
    if following.speaker != held[-1].speaker:
        return True
    if following.start - held[-1].end >= PAUSE_SECONDS:
        return True
    if held[-1].end - held[0].start < PARAGRAPH_SECONDS:
        return False
    return break_after(held[-1].text, following.text) is Break.SENTENCE


def _paragraph(segments: Sequence[Segment]) -> str:
    text = prefix(segments[0].speaker) + join(segment.text for segment in segments)
    return f"**{clock(segments[0].start)}** {_escaped(text)}"


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
