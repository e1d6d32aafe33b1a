"""SubRip subtitles."""

from __future__ import annotations

import re

from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.speakers import prefix
from phi4audio_cli.writers.subtitles import BRACES, MARK_OFF, MARK_ON, Shown, clock_time, shown

ARROW = re.compile("-{2,}>")
"""Between two times it is syntax, so readers may stumble over it in a text."""

TAG = re.compile(r"<(?=/?[A-Za-z])|\\(?=[Nnh])")
"""What players take for the beginning of a tag; the format has no way to write it as text."""

INVISIBLE = "\u200b"
"""A space without width: with it behind, it is none."""


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return the cues, numbered from 1."""
    return "\n".join(
        f"{number}\n{_cue(each)}" for number, each in enumerate(shown(result, style), start=1)
    )


def _cue(each: Shown) -> str:
    text = _text(prefix(each.speaker) + each.text)
    return f"{clock_time(each.start, ',')} --> {clock_time(each.end, ',')}\n{text}\n"


def _text(text: str) -> str:
    text = TAG.sub(lambda match: match[0] + INVISIBLE, ARROW.sub("→", text)).translate(BRACES)
    return text.replace(MARK_ON, "<u>").replace(MARK_OFF, "</u>")
