"""Speaker labels in every output format."""

from __future__ import annotations

import io
import json
import re

import pysubs2
import pytest
import srt
import webvtt

from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers import render
from phi4audio_cli.writers.transcript_json import parse_transcript

METADATA = Metadata(source="call.wav", model="demo", version="0.1.0")
SAID = [
    ("left", 0.0, 4.0, "Hello, this is the shop."),
    ("right", 3.0, 5.0, "Hi, do you have any apples?"),  # before the other has ended
    ("left", 6.0, 8.0, "We do."),
]


def call() -> Transcript:
    segments = tuple(
        Segment(
            n,
            start,
            end,
            text,
            "speech",
            words=interpolate_times(text, [(start, end)]),
            speaker=name,
        )
        for n, (name, start, end, text) in enumerate(SAID)
    )
    return Transcript(" ".join(text for *_, text in SAID), "English", segments, 9.0, "Write.")


def test_lines_begin_with_the_speaker():
    assert render("txt", call(), METADATA) == (
        "left: Hello, this is the shop.\nright: Hi, do you have any apples?\nleft: We do.\n"
    )
    assert "3000\t5000\tright: Hi, do you have any apples?\n" in render("tsv", call(), METADATA)
    assert "\n\n**0:03** right: Hi, do you have any apples?\n\n**0:06** left: We do.\n" in render(
        "md", call(), METADATA
    )


def flat(text: str) -> str:
    return " ".join(text.split())


def test_srt_cues_keep_their_own_times():
    cues = list(srt.parse(render("srt", call(), METADATA)))
    assert [flat(cue.content) for cue in cues] == [f"{name}: {text}" for name, _, _, text in SAID]
    starts = [cue.start.total_seconds() for cue in cues]
    assert starts == pytest.approx([start for _, start, _, _ in SAID], abs=0.01)
    assert cues[0].end > cues[1].start  # both are shown while both talk


def test_vtt_names_the_voice():
    written = render("vtt", call(), METADATA)
    cues = webvtt.from_buffer(io.StringIO(written)).captions
    assert [(cue.voice, flat(cue.text)) for cue in cues] == [(n, text) for n, _, _, text in SAID]


def test_ass_has_the_label_as_name_too():
    events = list(pysubs2.SSAFile.from_string(render("ass", call(), METADATA)))
    assert [event.name for event in events] == [name for name, *_ in SAID]
    assert [flat(event.plaintext) for event in events] == [f"{n}: {text}" for n, _, _, text in SAID]


def test_json_is_read_back():
    written = render("json", call(), METADATA)
    assert [entry["speaker"] for entry in json.loads(written)["segments"]] == [n for n, *_ in SAID]
    assert parse_transcript(written, "call.json")[0] == call()


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_a_label_is_never_syntax(form: str):
    strange = "a<b>,{c}\n--> "
    segment = Segment(0, 0.0, 2.0, "Hello.", "chunk", speaker=strange)
    written = render(form, Transcript("Hello.", None, (segment,), 2.0, ""), METADATA)
    [cue] = pysubs2.SSAFile.from_string(written, format_=form)
    assert cue.plaintext.endswith("Hello.")
    assert (cue.start, cue.end) == (0, 2000)


def test_lines_leave_room_for_the_label():
    text = "one two three four five six seven eight nine ten " * 4
    segment = Segment(
        0, 0.0, 60.0, text, "speech", words=interpolate_times(text, [(0, 60)]), speaker="right"
    )
    result = Transcript(text, "English", (segment,), 60.0, "")
    written = render("srt", result, METADATA, CueStyle(max_line_width=30))
    assert all(len(line) <= 30 for cue in srt.parse(written) for line in cue.content.split("\n"))


def test_each_word_is_highlighted_after_the_label():
    written = render("srt", call(), METADATA, CueStyle(highlight_words=True))
    assert re.findall(r"right: .*", written)[0] == "right: <u>Hi,</u> do you have any apples?"
