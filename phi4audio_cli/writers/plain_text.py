"""Plain text and tab-separated values, one segment per line."""

from __future__ import annotations

from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers.speaker_labels import speaker_line


def render_txt(result: Transcript, metadata: Metadata) -> str:
    """Return the text of each segment with text on a line of its own."""
    lines = (speaker_line(segment) for segment in result.segments)
    return "".join(f"{line}\n" for line in lines if line)


def render_tsv(result: Transcript, metadata: Metadata) -> str:
    """Return a header line, and one line per segment with text."""
    rows = (_tsv_row(segment) for segment in result.segments if segment.text.strip())
    return "start\tend\ttext\n" + "".join(rows)


def _tsv_row(segment: Segment) -> str:
    text = speaker_line(segment)  # neither tabs nor line breaks
    return f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n"
