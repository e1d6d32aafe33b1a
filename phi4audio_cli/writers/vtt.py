"""WebVTT subtitles."""

from __future__ import annotations

from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.subtitles import MARK_OFF, MARK_ON, Shown, clock_time, shown


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return the header and the cues."""
    return "WEBVTT\n" + "".join(f"\n{_cue(each)}" for each in shown(result, style))


def _cue(each: Shown) -> str:
    voice = "" if each.speaker is None else f"<v {_text(' '.join(each.speaker.split()))}>"
    text = voice + _text(each.text)
    return f"{clock_time(each.start, '.')} --> {clock_time(each.end, '.')}\n{text}\n"


def _text(text: str) -> str:
    # With > escaped there can be no arrow either, which would be syntax.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace(MARK_ON, "<u>").replace(MARK_OFF, "</u>")
