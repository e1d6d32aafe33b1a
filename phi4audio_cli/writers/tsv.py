"""Tab-separated values as openai-whisper writes them: milliseconds and text of each segment."""

from __future__ import annotations

from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers.speakers import line_of


def render(result: Transcript, metadata: Metadata) -> str:
    """Return a header line and one line a segment that has text."""
    rows = (_row(segment) for segment in result.segments if segment.text.strip())
    return "start\tend\ttext\n" + "".join(rows)


def _row(segment: Segment) -> str:
    text = line_of(segment)  # neither tabs nor line breaks
    return f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n"
