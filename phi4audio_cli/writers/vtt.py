"""WebVTT subtitles."""

from __future__ import annotations

from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.subtitles import (
    HIGHLIGHT_OFF,
    HIGHLIGHT_ON,
    SubtitleEvent,
    format_cue_time,
    subtitle_events,
)


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return the header and the cues."""
    return "WEBVTT\n" + "".join(f"\n{_format_cue(each)}" for each in subtitle_events(result, style))


def _format_cue(event: SubtitleEvent) -> str:
    voice = "" if event.speaker is None else f"<v {_escape_text(' '.join(event.speaker.split()))}>"
    text = voice + _escape_text(event.text)
    return f"{format_cue_time(event.start, '.')} --> {format_cue_time(event.end, '.')}\n{text}\n"


def _escape_text(text: str) -> str:
    # With > escaped there can be no arrow either, which would be syntax.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace(HIGHLIGHT_ON, "<u>").replace(HIGHLIGHT_OFF, "</u>")
