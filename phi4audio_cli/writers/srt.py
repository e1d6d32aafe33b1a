"""SubRip subtitles."""

from __future__ import annotations

import re

from phi4audio_cli.types import Metadata, Segment, Transcript

ARROW = re.compile("-{2,}>")
"""Between two times it is syntax, so readers may stumble over it in a text."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return one cue for each segment that has text, numbered from 1."""
    cues = (cue for segment in result.segments if (cue := _cue(segment)))
    return "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))


def _cue(segment: Segment) -> str:
    text = _text(segment.text)
    start = round(1000 * segment.start)
    stop = max(start + 1, round(1000 * segment.end))
    return f"{_time(start)} --> {_time(stop)}\n{text}\n" if text else ""


def _text(text: str) -> str:
    """Return a text that can't be taken for syntax: no arrow, no empty line."""
    lines = (" ".join(line.split()) for line in ARROW.sub("→", text).splitlines())
    return "\n".join(line for line in lines if line)


def _time(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02},{milliseconds:03}"
