"""Advanced SubStation Alpha subtitles.

pysubs2 is not used because it does not escape braces and backslashes: players would take parts of
a text for commands.
"""

from __future__ import annotations

import itertools

from phi4audio_cli.text.cues import DEFAULT_STYLE, Cue, CueStyle, make_cues
from phi4audio_cli.text.text_direction import embed_right_to_left, is_right_to_left
from phi4audio_cli.types import Metadata, Transcript, Word
from phi4audio_cli.writers.speaker_labels import speaker_prefix
from phi4audio_cli.writers.subtitles import FULL_WIDTH_BRACES, cue_word_times

HEADER = """\
[Script Info]
Title: {title}
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 0
ScaledBorderAndShadow: yes
YCbCr Matrix: None

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H0000D7FF,&H00000000,&H80000000,\
0,0,0,0,100,100,0,0,1,3,1,2,60,60,60,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

ESCAPES = FULL_WIDTH_BRACES | {ord("\\"): "\\\u200b"}
"""The format cannot escape a backslash; a zero-width space after it stops a command."""


def render(result: Transcript, metadata: Metadata, style: CueStyle = DEFAULT_STYLE) -> str:
    """Return a script with one line per cue; with `highlight_words` as karaoke."""
    title = " ".join(metadata.source.split())
    cues = make_cues(result.segments, style)
    return HEADER.format(title=title) + "".join(_dialogue_line(cue, style) for cue in cues)


def _dialogue_line(cue: Cue, style: CueStyle) -> str:
    # Hundredths of a second, rounded inwards so that gaps between cues never shrink.
    start, end = -(-cue.start // 10), cue.end // 10
    # Editors show the name field; players do not, so the label is part of the text as well.
    label = _escape(speaker_prefix(cue.speaker))
    text = _cue_text(cue, label, style)
    name = label.rstrip(": ").replace(",", " ")
    times = f"{_format_time(start)},{_format_time(end)}"
    return f"Dialogue: 0,{times},Default,{name},0,0,0,,{text}\n"


def _cue_text(cue: Cue, label: str, style: CueStyle) -> str:
    lines = (label + "\n".join(map(_escape, cue.text_lines))).split("\n")
    if is_right_to_left(cue.text):
        # Without karaoke: players lay out the texts between commands from left to right.
        return "\\N".join(map(embed_right_to_left, lines))
    return label + _karaoke(cue) if style.highlight_words and cue.timed else "\\N".join(lines)


def _escape(text: str) -> str:
    """Return a text without commands: braces and backslashes do not act as syntax."""
    return text.translate(ESCAPES)


def _karaoke(cue: Cue) -> str:
    times = {index: (start, end) for start, end, index in cue_word_times(cue)}
    indices = itertools.count()
    lines = [
        "".join(_karaoke_word(word, times.get(next(indices))) for word in line)
        for line in cue.lines
    ]
    return "\\N".join(lines)


def _karaoke_word(word: Word, times: tuple[int, int] | None) -> str:
    start, end = times or (0, 0)
    return f"{{\\k{round(end / 10) - round(start / 10)}}}{_escape(word.word)}"


def _format_time(hundredths: int) -> str:
    seconds, hundredths = divmod(hundredths, 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}.{hundredths:02}"
