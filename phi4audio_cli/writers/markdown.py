"""Markdown transcripts: paragraphs, each with its start time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.text.line_breaks import Break, break_after
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers.speaker_labels import speaker_prefix

PAUSE_SECONDS = 2.0
"""Shortest pause that begins a new paragraph, seconds."""

PARAGRAPH_SECONDS = 30.0
"""Length after which a paragraph ends at the next sentence end, seconds."""

SPECIAL_CHARACTERS = re.compile(r"[\\`*_\[\]<>&~#|]")
"""Characters that may be Markdown syntax inside a line."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the recording's name as a heading, and the paragraphs."""
    blocks = [
        f"# {_escape(metadata.source)}",
        *map(_format_paragraph, _split_paragraphs(result.segments)),
    ]
    return "\n\n".join(blocks) + "\n"


def _split_paragraphs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    paragraph: list[Segment] = []
    for segment in segments:
        if paragraph and _ends_paragraph(paragraph, segment):
            yield paragraph
            paragraph = []
        if segment.text.strip():
            paragraph.append(segment)
    if paragraph:
        yield paragraph


def _ends_paragraph(paragraph: Sequence[Segment], following: Segment) -> bool:
    if following.speaker != paragraph[-1].speaker:
        return True
    if following.start - paragraph[-1].end >= PAUSE_SECONDS:
        return True
    if paragraph[-1].end - paragraph[0].start < PARAGRAPH_SECONDS:
        return False
    return break_after(paragraph[-1].text, following.text) is Break.SENTENCE


def _format_paragraph(segments: Sequence[Segment]) -> str:
    text = speaker_prefix(segments[0].speaker) + join_texts(segment.text for segment in segments)
    return f"**{format_timestamp(segments[0].start)}** {_escape(text)}"


def _escape(text: str) -> str:
    """Return a text as one line without Markdown syntax."""
    return SPECIAL_CHARACTERS.sub(r"\\\g<0>", " ".join(text.split()))
