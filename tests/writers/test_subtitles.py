"""Other programs' libraries read the subtitles back with the same texts and times."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.text.cues import CueStyle, make_cues
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Metadata, Segment, Transcript
from phi4audio_cli.writers import FORMATS, expand_formats, render

METADATA = Metadata(source="talk {one}.wav", model="demo", version="0.1.0")

Cues = list[tuple[float, float, str]]
"""Start and end in seconds, and the text."""


def transcript(*texts: str) -> Transcript:
    segments = tuple(
        Segment(index, 10.0 * index, 10.0 * index + 9, text, "speech",
                words=interpolate_times(text, [(10.0 * index + 1, 10.0 * index + 8)]))
        for index, text in enumerate(texts)
    )  # fmt: skip
    return Transcript(" ".join(texts), None, segments, 10.0 * len(texts), "Transcribe.")


def read_srt(text: str) -> Cues:
    return [
        (cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in srt.parse(text)
    ]


def seconds(time: str) -> float:
    hours, minutes, rest = time.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def read_vtt(text: str) -> Cues:
    return [
        (seconds(cue.start), seconds(cue.end), html.unescape(cue.text))
        for cue in webvtt.from_string(text)
    ]


def read_with_pysubs2(form: str) -> Callable[[str], Cues]:
    def read(text: str) -> Cues:
        events = pysubs2.SSAFile.from_string(text, format_=form)
        return [(event.start / 1000, event.end / 1000, event.plaintext) for event in events]

    return read


READERS = [
    ("srt", read_srt),
    ("srt", read_with_pysubs2("srt")),
    ("vtt", read_vtt),
    ("ass", read_with_pysubs2("ass")),
]

STRANGE = [
    "a --> b", "x ---> y", "R&D & more", "1 < 2 > 0", "<b>bold</b>", "</i>", "{\\an8}", "{", "}",
    "C:\\Nhome\\n", "\\h", "שלום עולם", "مرحبا بالعالم", "👩‍👩‍👧 ok", "日本語です。",
    "{one}", "00:00:01,000", "1",
    "NOTE this", "STYLE", "WEBVTT", "&amp;", "&lt;i&gt;", "one\ttwo", "comma, comma", "a\u2028b",
]  # fmt: skip


def visible(text: str) -> str:
    """Return what a reader sees, up to signs that look the same."""
    text = re.sub("[\u200b\u200f\u202b\u202c]", "", text).translate(
        {ord("｛"): "{", ord("｝"): "}"}
    )
    return "".join(re.sub("-{2,}>", "→", text).split())


@pytest.mark.parametrize(("form", "read"), READERS)
@pytest.mark.parametrize("words", [True, False])
def test_unusual_texts_are_read_back(form: str, read: Callable[[str], Cues], words: bool) -> None:
    result = transcript(*STRANGE)
    if not words:
        bare = tuple(replace(segment, words=()) for segment in result.segments)
        result = replace(result, segments=bare)
    cues = read(render(form, result, METADATA))
    assert len(cues) == len(STRANGE)
    for (_, _, text), said in zip(cues, STRANGE, strict=True):
        assert visible(text) == visible(said)


@pytest.mark.parametrize(("form", "read"), READERS)
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.text(
            st.characters(exclude_categories=["Cs", "Cc", "Co"]) | st.sampled_from("<>{}\\&->\n")
        )
    )
)
def test_any_text_keeps_its_cues_and_times(
    form: str, read: Callable[[str], Cues], texts: list[str]
) -> None:
    result = transcript(*texts)
    cues = read(render(form, result, METADATA))
    expected = make_cues(result.segments)
    assert len(cues) == len(expected)
    for (start, end, _), cue in zip(cues, expected, strict=True):
        assert start == pytest.approx(cue.start / 1000, abs=0.0101)
        assert end == pytest.approx(cue.end / 1000, abs=0.0101)


@pytest.mark.parametrize(("form", "read"), READERS)
def test_rules_hold_in_the_files(form: str, read: Callable[[str], Cues]) -> None:
    text = "the quick brown fox jumps over the lazy dog, and then it sleeps. " * 3
    for cue, following in pairwise(read(render(form, transcript(text, text), METADATA))):
        assert round(following[0] - cue[1], 3) >= 0.083
        assert cue[1] - cue[0] >= 0.82
        assert all(len(line) <= 42 for line in cue[2].split("\n"))


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_the_style_is_followed(form: str) -> None:
    result = transcript("one two three four five six seven eight nine ten")
    style = CueStyle(max_line_width=12, max_lines=1)
    text = render(form, result, METADATA, style)
    assert len(re.findall(r"-->|^Dialogue", text, re.MULTILINE)) >= 4


@pytest.mark.parametrize(("form", "read"), READERS[::2])
def test_each_word_is_highlighted_in_turn(form: str, read: Callable[[str], Cues]) -> None:
    result = transcript("one two <three>")
    text = render(form, result, METADATA, CueStyle(highlight_words=True))
    cues = read(text)
    assert len(cues) == 3
    assert re.findall("<u>(.*)</u>", text)[:2] == ["one", "two"]
    assert [cue[0] for cue in cues[1:]] == [cue[1] for cue in cues[:-1]]
    assert [cue[0] for cue in cues] == pytest.approx(
        [word.start for word in result.segments[0].words], abs=0.001
    )


def test_ass_highlights_words_as_karaoke() -> None:
    result = transcript("one two three")
    text = render("ass", result, METADATA, CueStyle(highlight_words=True))
    (event,) = pysubs2.SSAFile.from_string(text)
    assert event.plaintext == "one two three"
    lengths = [int(each) for each in re.findall(r"\\k(\d+)", event.text)]
    assert sum(lengths) == pytest.approx((event.end - event.start) / 10, abs=2)


def test_ass_has_a_title_and_a_resolution() -> None:
    file = pysubs2.SSAFile.from_string(render("ass", transcript("a"), METADATA))
    assert file.info["Title"] == "talk {one}.wav"
    assert (file.info["PlayResX"], file.info["PlayResY"]) == ("1920", "1080")
    assert "Default" in file.styles


def test_an_empty_transcript_is_a_valid_file() -> None:
    assert render("srt", transcript(), METADATA) == ""
    assert render("vtt", transcript(), METADATA) == "WEBVTT\n"
    assert list(pysubs2.SSAFile.from_string(render("ass", transcript(), METADATA))) == []
    assert render("tsv", transcript(), METADATA) == "start\tend\ttext\n"
    assert render("md", transcript(), METADATA) == "# talk {one}.wav\n"


def test_tsv_is_whisper_s() -> None:
    assert render("tsv", transcript("one\ttwo", " ", "three\nfour"), METADATA) == (
        "start\tend\ttext\n0\t9000\tone two\n20000\t29000\tthree four\n"
    )


def test_md_is_paragraphs_with_times() -> None:
    result = transcript("one *two*", "three <b> #4")
    assert render("md", result, METADATA) == (
        "# talk {one}.wav\n\n**0:00** one \\*two\\* three \\<b\\> \\#4\n"
    )
    later = replace(result.segments[1], start=4000.0, end=4009.0)
    text = render("md", replace(result, segments=(result.segments[0], later)), METADATA)
    assert "\n\n**1:06:40** three" in text


def test_md_ends_long_paragraphs_at_sentence_ends() -> None:
    texts = ["one", "two", "three", "four.", "Five"]
    paragraphs = render("md", transcript(*texts), METADATA).split("\n\n")[1:]
    assert paragraphs == ["**0:00** one two three four.", "**0:40** Five\n"]


def test_files_end_lines_in_lf_and_are_the_same_twice() -> None:
    for form in FORMATS:
        text = render(form, transcript("a\r\nb", "c\u2028d"), METADATA)
        assert "\r" not in text
        assert text.endswith("\n")
        assert text == render(form, transcript("a\r\nb", "c\u2028d"), METADATA)


def test_all_stands_for_every_format() -> None:
    assert expand_formats(["json", "all"]) == ["json", *(set_without_json())]
    assert expand_formats(["fr.all"]) == [f"fr.{form}" for form in FORMATS]
    assert expand_formats(["txt", "fr.txt", "txt"]) == ["txt", "fr.txt"]


def set_without_json() -> list[str]:
    return [form for form in FORMATS if form != "json"]
