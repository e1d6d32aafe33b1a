"""Right-to-left cues carry the marks that players need, and no others do."""

from __future__ import annotations

import pytest

from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers import render

METADATA = Metadata(source="talk.wav", model="demo", version="0.1.0")

HEBREW = "NASA שיגרה לוויין חדש ביום שלישי, והוא יקיף את הירח במשך שנתיים."


def transcript(text: str) -> Transcript:
    words = interpolate_times(text, [(0.0, 4.0)])
    segment = Segment(0, 0.0, 4.0, text, "speech", words=words)
    return Transcript(text, None, (segment,), 4.0, "Transcribe.")


def shown_lines(form: str, text: str, style: CueStyle | None = None) -> list[str]:
    output = render(form, transcript(text), METADATA, style or CueStyle())
    if form == "ass":
        return output.split(",,")[-1].rstrip("\n").split("\\N")
    return [line for line in output.split("\n")[2:] if line and "-->" not in line]


@pytest.mark.parametrize("form", ["srt", "ass"])
def test_each_line_is_embedded_from_right_to_left(form: str) -> None:
    lines = shown_lines(form, HEBREW)
    assert len(lines) == 2
    assert all(line[0] == "\u202b" and line[-1] == "\u202c" for line in lines)
    assert " ".join(line[1:-1] for line in lines) == HEBREW


def test_a_webvtt_line_gets_a_mark_where_it_begins_with_another_script() -> None:
    first, second = shown_lines("vtt", HEBREW)
    assert first.startswith("\u200fNASA ")
    assert f"{first[1:]} {second}" == HEBREW


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_other_texts_get_no_marks(form: str) -> None:
    output = render(form, transcript("The word שלום means peace."), METADATA)
    assert not set(output) & set("\u200e\u200f\u202a\u202b\u202c")


def test_a_highlighted_word_is_inside_of_the_embedding() -> None:
    style = CueStyle(highlight_words=True)
    lines = shown_lines("srt", "שלום עולם.", style)
    assert lines[0] == "\u202b<u>שלום</u> עולם.\u202c"
    assert shown_lines("ass", "שלום עולם.", style) == ["\u202bשלום עולם.\u202c"]
