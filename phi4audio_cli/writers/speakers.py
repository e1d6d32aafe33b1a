"""Speakers' names before what they say, such as `left: Hello`."""

from __future__ import annotations

from phi4audio_cli.types import Segment


def line_of(segment: Segment) -> str:
    """Return a segment's text on one line, after its speaker where there is one; or nothing."""
    text = " ".join(segment.text.split())
    return prefix(segment.speaker) + text if text else ""


def prefix(speaker: str | None) -> str:
    """Return what stands before a speaker's words; nothing where nobody is told apart."""
    return "" if speaker is None else f"{' '.join(speaker.split())}: "
