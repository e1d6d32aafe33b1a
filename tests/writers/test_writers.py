"""Other programs read the written files back with the same texts."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta

import pytest
import srt
from hypothesis import example, given
from hypothesis import strategies as st

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Metadata, Segment, Transcript, Word
from phi4audio_cli.writers import FORMATS, render

METADATA = Metadata(source="talk é.wav", model="demo", version="0.1.0")

WORDS = (Word("seven", 0.5, 0.9, 0.75), Word("three.", 1.0, 1.4))


def transcript(*texts: str, language: str | None = "French") -> Transcript:
    segments = tuple(
        Segment(index, 40.0 * index, 40.0 * index + 39.5, text, "chunk", -0.125)
        for index, text in enumerate(texts)
    )
    return Transcript(" ".join(texts), language, segments, 40.0 * len(texts), "Transcribe.")


def visible(text: str) -> str:
    """Return what a reader sees, up to spaces and to signs that look the same."""
    text = re.sub("[\u200b\u200f\u202b\u202c]", "", text)
    text = text.translate({ord("｛"): "{", ord("｝"): "}"})
    return "".join(text.split())


def test_txt_is_one_segment_a_line() -> None:
    assert (
        render("txt", transcript("one  two", "", "drei\nvier "), METADATA) == "one two\ndrei vier\n"
    )
    assert render("txt", transcript(), METADATA) == ""


def test_json_has_whisper_s_keys_and_ours() -> None:
    text = render("json", transcript("un", "deux 你好"), METADATA)
    assert "你好" in text
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["text"] == "un deux 你好"
    assert document["language"] == "fr"
    assert document["segments"][1] == {
        "id": 1,
        "start": 40.0,
        "end": 79.5,
        "text": "deux 你好",
        "avg_logprob": -0.125,
        "times_from": "chunk",
        "finish": "stop",
        "words_per_second": 0.051,
        "repetition": 0.0,
    }
    ours = {key: document[key] for key in document if key not in ("text", "language", "segments")}
    assert ours == {
        "schema_version": "1",
        "phi4audio": "0.1.0",
        "model": "demo",
        "source": "talk é.wav",
        "task": "transcribe",
        "prompt": "Transcribe.",
        "duration": 80.0,
        "language_from": None,
        "speech": None,
        "uncovered": 0.0,
    }


def test_json_has_flags_and_attempts() -> None:
    result = transcript("seven " * 40)
    [segment] = result.segments
    segment = dataclasses.replace(
        segment, flags=("loop",), tried=("first", "halves"), speaker="left", end=segment.start
    )
    result = dataclasses.replace(result, segments=(segment,), speech=12.5, uncovered=2.25)
    document = json.loads(render("json", result, METADATA))
    assert (document["speech"], document["uncovered"]) == (12.5, 2.25)
    [entry] = document["segments"]
    assert (entry["flags"], entry["tried"]) == (["loop"], ["first", "halves"])
    assert (entry["speaker"], entry["repetition"]) == ("left", 0.975)
    assert entry["words_per_second"] is None


def test_json_holds_words_when_there_are_any() -> None:
    result = transcript("seven three.")
    segment = dataclasses.replace(result.segments[0], words=WORDS)
    result = dataclasses.replace(result, segments=(segment,))
    assert json.loads(render("json", result, METADATA))["segments"][0]["words"] == [
        {"word": "seven", "start": 0.5, "end": 0.9, "probability": 0.75},
        {"word": "three.", "start": 1.0, "end": 1.4},
    ]


@pytest.mark.parametrize(
    ("name", "code"), [(None, None), ("Chinese", "zh"), ("Klingon", "Klingon")]
)
def test_json_has_the_language_code_of_whisper(name: str | None, code: str | None) -> None:
    document = json.loads(render("json", transcript("a", language=name), METADATA))
    assert document["language"] == code


def test_json_is_valid_for_any_numbers() -> None:
    result = transcript("a")
    segment = dataclasses.replace(result.segments[0], avg_logprob=float("-inf"))
    text = render("json", dataclasses.replace(result, segments=(segment,)), METADATA)
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["segments"][0]["avg_logprob"] is None


def test_srt_has_the_right_times() -> None:
    result = transcript("one", " ", "three")
    last = dataclasses.replace(result.segments[2], start=359_999.9996, end=360_001.25)
    result = dataclasses.replace(result, segments=(*result.segments[:2], last))
    assert render("srt", result, METADATA) == (
        "1\n00:00:00,000 --> 00:00:39,500\none\n\n2\n100:00:00,000 --> 100:00:01,250\nthree\n"
    )


@example(["\ue000"])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("->\n\r1{<&"))))
def test_srt_is_read_back_for_any_texts(texts: list[str]) -> None:
    result = transcript(*texts)
    written = render("srt", result, METADATA)
    assert "\r" not in written
    cues = list(srt.parse(written))
    with_text = [segment for segment in result.segments if segment.text.split()]
    assert [cue.index for cue in cues] == list(range(1, len(with_text) + 1))
    for cue, segment in zip(cues, with_text, strict=True):
        assert cue.start == timedelta(seconds=segment.start)
        assert cue.end == timedelta(seconds=segment.end)
        if "->" not in segment.text:
            assert visible(cue.content) == visible(segment.text)


def test_srt_keeps_scripts_and_signs() -> None:
    texts = ["a --> b", "x ---> y", "R&D <b>", "{\\an8}", "שלום עולם", "👩‍👩‍👧 ok", "日本語"]
    contents = [cue.content for cue in srt.parse(render("srt", transcript(*texts), METADATA))]
    assert list(map(visible, contents)) == ["a→b", "x→y", *map(visible, texts[2:])]


def test_a_result_is_written_the_same_twice() -> None:
    for name in FORMATS:
        assert render(name, transcript("a", "b"), METADATA) == render(
            name, transcript("a", "b"), METADATA
        )


@pytest.mark.parametrize(("wrong", "right"), [("text", "txt"), (".srt", "srt"), ("jsn", "json")])
def test_an_unknown_format_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {right}"):
        render(wrong, transcript("a"), METADATA)
