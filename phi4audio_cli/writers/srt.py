"""SubRip subtitles."""

from __future__ import annotations

import re

from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.text.text_direction import embed_right_to_left, is_right_to_left
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.speaker_labels import speaker_prefix
from phi4audio_cli.writers.subtitles import (
    FULL_WIDTH_BRACES,
    SubtitleEvent,
    format_cue_time,
    subtitle_events,
)

ARROW = re.compile("-{2,}>")
"""The separator of a cue's two times; some readers misparse it in a text."""

TAG = re.compile(r"<(?=/?[A-Za-z])|\\(?=[Nnh])")
"""Beginning of a tag or an escape, to players; the format has no escape for it."""

ZERO_WIDTH_SPACE = "\u200b"
"""Inserted after the first character of a tag or an escape, it disables it."""


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return the cues, numbered from 1."""
    return "\n".join(
        f"{number}\n{_format_cue(each)}"
        for number, each in enumerate(subtitle_events(result, style), start=1)
    )


def _format_cue(event: SubtitleEvent) -> str:
    text = _escape_text(speaker_prefix(event.speaker) + event.before)
    if event.highlighted:
        text += f"<u>{_escape_text(event.highlighted)}</u>{_escape_text(event.after)}"
    if is_right_to_left(event.text):
        text = "\n".join(map(embed_right_to_left, text.split("\n")))
    return f"{format_cue_time(event.start, ',')} --> {format_cue_time(event.end, ',')}\n{text}\n"


def _escape_text(text: str) -> str:
    text = TAG.sub(lambda match: match[0] + ZERO_WIDTH_SPACE, ARROW.sub("→", text))
    return text.translate(FULL_WIDTH_BRACES)
