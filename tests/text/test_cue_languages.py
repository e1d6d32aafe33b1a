"""Cues of real sentences: joined they are the text, and no line is broken at a wrong place."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.text.break_opportunities import split_at_breaks
from phi4audio_cli.text.cues import Cue, CueStyle, make_cues
from phi4audio_cli.text.graphemes import display_width, split_graphemes
from phi4audio_cli.text.words import interpolate_times, join_texts, split_words
from phi4audio_cli.types import Segment, Word

SENTENCES = {
    "ar": "قال المدير: «سنبدأ الاجتماع في الساعة 10:30»، ثم أغلق الباب. هل قرأتَ تقرير NASA الجديد؟",
    "cs": "Příští týden pojedeme vlakem do Plzně, protože autobus nejezdí. „Vážně?“ zeptala se.",
    "da": "Vi købte rødgrød på torvet, men fløden var desværre udsolgt. »Ærgerligt,« sagde han.",
    "de": "Die Straßenbahn fährt alle zehn Minuten. „Kommst du mit?“, fragte sie (leise).",
    "en": "The committee didn't agree on the budget; however, they'll meet at 5 p.m. on Monday.",
    "es": "¿Cuándo llega el tren de Sevilla? ¡No puede ser! Nos dijeron que a las ocho.",
    "fi": "Järvi jäätyi viime yönä, joten lapset pääsivät luistelemaan. ”Varovasti!” huusi äiti.",
    "fr": "« Où est la gare ? » demanda-t-elle. Il répondit : « Là-bas ! » et s’en alla.",
    "he": "הרכבת לתל אביב יוצאת בשעה 7:45, אבל היום היא מאחרת. ראית את ה-iPhone שלי?",
    "hu": "A könyvtár csütörtökönként zárva van, úgyhogy holnap megyünk. „Jó ötlet!” – mondta.",
    "it": "L'università apre alle nove; c'è anche un bar, ma il caffè è già finito. Perché?",
    "ja": "「富士山」は2024年に『世界遺産』の話題になり、AIが描いた絵も《名所》として……人気です。"
    "ちょっと、ニューヨークのキャッチャーの話をしましょう。「行こう！」と彼女は言った。",
    "ko": "오늘은 날씨가 좋아서 공원에 갔습니다. “같이 갈까요?” 하고 물었어요. 2024년이었죠.",
    "nl": "De fietsenmaker zei dat 't morgen klaar is. „Echt waar?” vroeg ze – en ze lachte.",
    "no": "Været på Ålesund er vått i dag, så vi blir hjemme. «Greit,» sa bestemoren min.",
    "pl": "Zażółć gęślą jaźń! Mówił, że pociąg do Łodzi spóźni się o pół godziny. „Trudno”.",
    "pt": "Não sabíamos que a reunião começava às nove; por isso, chegámos tarde. É pena!",
    "ru": "Поезд прибывает в семь часов утра — не опаздывайте! «Хорошо», — ответил он тихо.",
    "sv": "Flygplanet till Göteborg är försenat, så vi åt smörgåsar. ”Vad gott!” sa hon.",
    "th": "ภาษาไทยเป็นภาษาที่ไม่มีการเว้นวรรคระหว่างคำและน้ำใจของคนไทยก็เป็นที่รู้จักกันดีทั่วโลก "
    "เมื่อวานนี้ผมซื้อข้าวผัด 2 จานที่ตลาดใกล้บ้าน แล้วเราก็คุยกันเรื่องฟุตบอลจนดึก",
    "tr": "Yarın sabah İzmir'e gidiyoruz; çünkü düğün öğleden sonra. “Iğdır mı?” diye sordu.",
    "uk": "Завтра ми їдемо до Львова, бо там фестиваль кави. «З’їж щось!» — сказала бабуся.",
    "zh": "他说：“今天是2024年5月1日，我们要学习《红楼梦》。”然后……大家用AI翻译（很快）。你去吗？",
}

OPENING = set("「『《（“([{")
NEVER_FIRST = set("」』》）)]}、。，！？；：ゃゅょっぁぃぅぇぉャュョッァィゥェォーะาำๅๆ") | {
    chr(code) for code in (0x0E31, *range(0x0E34, 0x0E3B), *range(0x0E47, 0x0E4F))
}
THAI_LEADING_VOWELS = set("เแโใไ")


def cut(text: str, positions: set[int]) -> list[str]:
    edges = [0, *sorted(position for position in positions if 0 < position < len(text)), len(text)]
    return [text[start:stop] for start, stop in pairwise(edges)]


def timed(pieces: list[str], text: str, strip: bool = False) -> Segment:
    """Return a segment of any pieces of a text as its words, spoken at an even rate."""
    ends = list(accumulate(map(len, pieces), initial=0))
    words = tuple(
        Word(piece.strip() if strip else piece, 0.08 * start, 0.08 * stop)
        for piece, (start, stop) in zip(pieces, pairwise(ends), strict=True)
    )
    return Segment(0, 0, 0.08 * ends[-1], text, "attention", words=words)


def joined(cues: list[Cue]) -> str:
    """Return the text of cues, as a reader joins it who knows the text's own spaces."""
    return "".join(word.word for cue in cues for line in cue.lines for word in line)


def lines_of(cues: list[Cue]) -> list[str]:
    return [line for cue in cues for line in cue.text_lines]


def check_lines(lines: list[str], code: str) -> None:
    for line in lines:
        assert line[0] not in NEVER_FIRST, line
        if code in ("ja", "zh"):
            assert line[-1] not in OPENING, line
        assert line[-1] not in THAI_LEADING_VOWELS, line


@pytest.mark.parametrize("code", SENTENCES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_words_of_a_text_are_shown_as_the_text(code: str, data: st.DataObject) -> None:
    text = SENTENCES[code]
    positions = data.draw(st.sets(st.integers(1, len(text) - 1)))
    style = CueStyle(max_line_width=data.draw(st.integers(24, 42)))
    segment = timed(cut(text, positions), text, strip=data.draw(st.booleans()))
    cues = make_cues([segment], style)
    assert joined(cues) == text
    check_lines(lines_of(cues), code)
    times = [time for cue in cues for time in (cue.start, cue.end)]
    assert times == sorted(times)
    assert all(display_width(line) <= 16 * style.max_line_width for line in lines_of(cues))


@pytest.mark.parametrize("code", SENTENCES)
def test_a_segment_without_words_is_shown_as_its_text(code: str) -> None:
    text = SENTENCES[code]
    lines = lines_of(make_cues([Segment(0, 0, 10, text, "chunk")], CueStyle(max_line_width=24)))
    assert "".join("".join(lines).split()) == "".join(text.split())
    check_lines(lines, code)


@pytest.mark.parametrize("code", SENTENCES)
def test_the_program_s_own_words_are_the_text(code: str) -> None:
    text = SENTENCES[code]
    words = split_words(text)
    assert "".join(words) == text
    assert [grapheme for word in words for grapheme in split_graphemes(word)] == split_graphemes(
        text
    )
    cues = make_cues([Segment(0, 0, 15, text, "speech", words=interpolate_times(text, [(0, 15)]))])
    assert joined(cues) == text
    check_lines(lines_of(cues), code)


@pytest.mark.parametrize("code", ["ja", "zh"])
def test_segments_of_chinese_and_japanese_join_without_spaces(code: str) -> None:
    text = SENTENCES[code]
    half = text.index("。") + 1
    if text[half] == "”":
        half += 1
    first, second = text[:half], text[half:]
    assert join_texts([first, second]) == text
    cues = make_cues([timed(list(first), first), timed(list(second), second)])
    assert joined(cues).replace("\n", "") == text


def test_thai_breaks_between_words() -> None:
    text = "วันนี้อากาศดีมากฉันไปโรงเรียนตอนเช้าและกินข้าวกับเพื่อนที่ตลาด"
    words = [
        "วัน",
        "นี้",
        "อากาศ",
        "ดี",
        "มาก",
        "ฉัน",
        "ไป",
        "โรงเรียน",
        "ตอน",
        "เช้า",
        "และ",
        "กิน",
        "ข้าว",
        "กับ",
        "เพื่อน",
        "ที่",
        "ตลาด",
    ]
    torn = [text[index : index + 3] for index in range(0, len(text), 3)]
    for width in range(8, 42):
        cues = make_cues([timed(torn, text)], CueStyle(max_line_width=width))
        ends = set(accumulate(map(len, lines_of(cues))))
        assert ends <= set(accumulate(map(len, words)))


def test_times_of_a_joined_or_divided_word_are_those_of_its_characters() -> None:
    words = (Word("に『", 1.0, 1.5), Word("世", 1.5, 1.75), Word("界』", 1.75, 2.75))
    (cue,) = make_cues([Segment(0, 1, 3, "に『世界』", "attention", words=words)])
    (line,) = cue.lines
    assert [(word.word, word.start, word.end) for word in line] == [
        ("に", 1.0, 1.25), ("『世", 1.25, 1.75), ("界』", 1.75, 2.75),
    ]  # fmt: skip


EMOJI = ["👩‍👩‍👧", "🇩🇪", "🇯🇵", "👍🏽", "e\u0301", "क्षि", "ก็", "한", "❤️"]


@given(st.lists(st.sampled_from(EMOJI), min_size=1, max_size=30), st.integers(6, 20), st.randoms())
@settings(deadline=None)
def test_emoji_flags_and_combined_characters_stay_whole(
    graphemes: list[str], width: int, rng: random.Random
) -> None:
    text = "".join(graphemes)
    assert split_graphemes(text) == graphemes
    positions = {rng.randrange(len(text)) for _ in range(len(text) // 2)}
    for segment in (timed(cut(text, positions), text), Segment(0, 0, 9, text, "chunk")):
        lines = lines_of(make_cues([segment], CueStyle(max_line_width=width)))
        assert [each for line in lines for each in split_graphemes(line)] == graphemes


@pytest.mark.parametrize(
    ("text", "letters"),
    [("abc", 3), ("日本", 2 * 42 / 16), ("👩‍👩‍👧", 42 / 16), ("🇩🇪", 42 / 16), ("e\u0301", 1),
     ("น้ำ", 2), ("ｶﾅ", 2), ("한국", 2 * 42 / 16), ("שָׁלוֹם", 4), ("\u200b", 0)],
)  # fmt: skip
def test_widths_are_those_shown(text: str, letters: float) -> None:
    assert display_width(text) == 16 * letters


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("彼は「行く。」と", ["彼", "は", "「行", "く。」", "と"]),
        ("ニューヨーク", ["ニュー", "ヨー", "ク"]),
        ("他说：“今天。”然后……大", ["他", "说：", "“今", "天。”", "然", "后……", "大"]),
        ("第1,000回(2024年)", ["第", "1,000", "回", "(2024", "年)"]),
        ("時々——ね", ["時々", "——", "ね"]),
        ("« Où ? » dit-il : oui", ["« Où ? »", " dit-il :", " oui"]),
        ("sagte »Nein« und", ["sagte", " »Nein«", " und"]),
        ("10\u00a0km weit", ["10\u00a0km", " weit"]),
        ("เป็นภาษา", ["เป็น", "ภาษา"]),
        ("R&D don't", ["R&D", " don't"]),
        ("日本🇯🇵です", ["日", "本", "🇯🇵", "で", "す"]),
        ("", []),
    ],
)
def test_breaks_are_where_the_script_allows_them(text: str, parts: list[str]) -> None:
    assert split_at_breaks(text) == parts


def test_a_sentence_ends_before_its_closing_quote() -> None:
    for text in ("「もう帰ろう。」彼は言った。", "“我们走吧！”他说。", "《我们走吧。》他说。"):
        cues = make_cues([timed(list(text), text)], CueStyle(max_line_width=21, max_lines=1))
        assert lines_of(cues)[0][-1] in "」”》"
