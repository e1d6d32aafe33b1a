"""Plain text: one segment a line."""

from __future__ import annotations

from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.speakers import line_of


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the text of the segments that have any, each on a line of its own."""
    lines = (line_of(segment) for segment in result.segments)
    return "".join(f"{line}\n" for line in lines if line)
