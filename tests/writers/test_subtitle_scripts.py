"""Subtitle files of scripts without spaces: their lines, joined, are the text."""

from __future__ import annotations

import re

import pysubs2
import pytest

from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.types import Metadata, Segment, Transcript, Word
from phi4audio_cli.writers import render

METADATA = Metadata(source="talk.wav", model="demo", version="0.1.0")

JAPANESE = [
    "「",
    "富",
    "士",
    "山」",
    "は",
    "2024",
    "年",
    "に『",
    "世",
    "界",
    "遺",
    "産』",
    "の",
    "ニ",
    "ュ",
    "ー",
    "ス",
    "に",
    "な",
    "り、",
    "AI",
    "が",
    "描",
    "い",
    "た",
    "絵",
    "も《",
    "名",
    "所》",
    "と",
    "し",
    "て……",
    "人",
    "気",
    "で",
    "す。",
]
CHINESE = [
    "他",
    "说：“",
    "今",
    "天",
    "是",
    "2024",
    "年",
    "5",
    "月",
    "1",
    "日，",
    "我",
    "们",
    "要",
    "学",
    "习《",
    "红",
    "楼",
    "梦》。”",
    "然",
    "后……",
    "大",
    "家",
    "用",
    "AI",
    "翻",
    "译。",
]
THAI_TEXT = "น้ำใจของคนไทยก็เป็นที่รู้จักกันดีทั่วโลกในเรื่องของรอยยิ้มและการต้อนรับแขกที่มาเยือนบ้าน"
THAI = [THAI_TEXT[index : index + 3] for index in range(0, len(THAI_TEXT), 3)]


def transcript(pieces: list[str]) -> Transcript:
    text = "".join(pieces)
    words = tuple(Word(piece, 0.3 * index, 0.3 * index + 0.3) for index, piece in enumerate(pieces))
    segment = Segment(0, 0.0, words[-1].end, text, "attention", words=words)
    return Transcript(text, None, (segment,), words[-1].end, "Transcribe.")


@pytest.mark.parametrize("pieces", [JAPANESE, CHINESE, THAI])
@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
@pytest.mark.parametrize("highlight", [False, True])
def test_lines_joined_are_the_text(pieces: list[str], form: str, highlight: bool) -> None:
    style = CueStyle(highlight_words=highlight and form == "ass")
    output = render(form, transcript(pieces), METADATA, style)
    shown = [event.plaintext for event in pysubs2.SSAFile.from_string(output, format_=form)]
    lines = [line for text in shown for line in text.split("\n")]
    assert len(lines) > 2
    assert "".join(lines) == "".join(pieces)
    assert not re.search(
        r"[「『《“]$|^[」』》”、。，ュー\u0e31-\u0e3a\u0e47-\u0e4e]", "\n".join(lines), re.M
    )


@pytest.mark.parametrize("pieces", [JAPANESE, CHINESE, THAI])
def test_highlighted_words_joined_are_the_text(pieces: list[str]) -> None:
    output = render("srt", transcript(pieces), METADATA, CueStyle(highlight_words=True))
    assert "".join(re.findall("<u>(.*?)</u>", output)) == "".join(pieces)
