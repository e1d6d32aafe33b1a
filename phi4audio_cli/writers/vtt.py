"""WebVTT subtitles."""

from __future__ import annotations

from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.text.text_direction import is_right_to_left, mark_right_to_left
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.subtitles import (
    SubtitleEvent,
    format_cue_time,
    subtitle_events,
)


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return the header and the cues."""
    return "WEBVTT\n" + "".join(f"\n{_format_cue(each)}" for each in subtitle_events(result, style))


def _format_cue(event: SubtitleEvent) -> str:
    voice = "" if event.speaker is None else f"<v {_escape_text(' '.join(event.speaker.split()))}>"
    text = voice + _escape_text(event.before)
    if event.highlighted:
        text += f"<u>{_escape_text(event.highlighted)}</u>{_escape_text(event.after)}"
    if is_right_to_left(event.text):
        lines = zip(text.split("\n"), event.text.split("\n"), strict=True)
        text = "\n".join(mark_right_to_left(line, shown) for line, shown in lines)
    return f"{format_cue_time(event.start, '.')} --> {format_cue_time(event.end, '.')}\n{text}\n"


def _escape_text(text: str) -> str:
    # Escaping > also prevents an arrow, which is syntax.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
