"""Cues contain every word once, within the limits of lines and times, broken at good places."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.text.cues import Cue, CueStyle, make_cues
from phi4audio_cli.text.graphemes import display_width
from phi4audio_cli.text.line_breaks import Break, break_after, break_lines, wrap_text
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Segment, Word

GAP = 84


def segment(text: str, start: float, end: float) -> Segment:
    """Return a segment spoken at an even rate."""
    return Segment(0, start, end, text, "speech", words=interpolate_times(text, [(start, end)]))


def said(*parts: tuple[str, float, float]) -> Segment:
    """Return a segment of words with given times."""
    words = tuple(
        Word(f" {text}" if index else text, *times) for index, (text, *times) in enumerate(parts)
    )
    text = "".join(word.word for word in words)
    return Segment(0, words[0].start, words[-1].end, text, "attention", words=words)


def texts(cues: list[Cue]) -> list[str]:
    return [cue.text for cue in cues]


STRANGE = [
    "the",
    "of",
    "a",
    "Yes.",
    "no,",
    "(and)",
    "—",
    "naïve",
    "R&D",
    "-->",
    "שלום",
    "東京",
    "👩‍👩‍👧",
]
WORD_TEXTS = st.sampled_from(STRANGE) | st.text("abcdefghij.,?", min_size=1, max_size=60)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Return segments of words at any speed, in order, some without words."""
    time = draw(st.floats(0, 100))
    result = []
    for index in range(draw(st.integers(0, 4))):
        words = []
        spaces = draw(st.booleans())
        for text in draw(st.lists(WORD_TEXTS, max_size=40)):
            time += draw(st.sampled_from([0, 0, 0, 0.1, 0.7, 3, 30]))
            end = time + draw(st.sampled_from([0.001, 0.05, 0.2, 0.4, 1, 9]))
            words.append(Word(f" {text}" if spaces and words else text, time, end))
            time = end
        if not words:
            time += 5
        text = "".join(word.word for word in words) or draw(st.text(max_size=100))
        start = words[0].start if words else time - 5
        result.append(Segment(index, start, time, text, "attention", words=tuple(words)))
    return result


STYLES = st.builds(
    CueStyle,
    max_line_width=st.integers(6, 60),
    max_lines=st.integers(1, 3),
    max_cue_seconds=st.floats(1, 10),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(segments(), STYLES)
def test_cues_keep_all_words_and_the_limits(given_segments: list[Segment], style: CueStyle) -> None:
    cues = make_cues(given_segments, style)
    expected = [
        text
        for each in given_segments
        for text in ([word.word for word in each.words] or [each.text])
    ]
    shown = "".join(cue.text for cue in cues)
    assert "".join(shown.split()) == "".join("".join(expected).split())
    for cue in cues:
        assert cue.start < cue.end
        assert all(line and line == line.strip() for line in cue.text_lines)
        assert all(display_width(line) <= 16 * style.max_line_width for line in cue.text_lines)
        if cue.timed:
            assert len(cue.lines) <= style.max_lines
            assert cue.end - cue.start <= max(1000 * style.max_cue_seconds, 834)
    for cue, following in pairwise(cues):
        assert following.start - cue.end >= GAP


@given(segments())
def test_cues_last_and_are_readable_wherever_the_next_leaves_the_time(
    given_segments: list[Segment],
) -> None:
    cues = make_cues(given_segments)
    for cue, following in pairwise(cues):
        free = following.start - GAP - cue.start
        assert cue.end - cue.start >= min(834, free)
        if cue.timed:
            assert cue.end - cue.start >= min(50 * len(cue.text), 7000, free)
    if cues:
        assert cues[-1].end - cues[-1].start >= 834


def test_cues_break_at_sentence_ends() -> None:
    cues = make_cues(
        [segment("This is one sentence. Here is another one! Is this the third?", 0, 9)]
    )
    assert texts(cues) == ["This is one sentence.", "Here is another one!", "Is this the third?"]


def test_long_sentences_break_at_clauses() -> None:
    text = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, "
        "it was the age of foolishness."
    )
    for cue in make_cues([segment(text, 0, 12)]):
        assert cue.text[-1] in ",."


def test_without_punctuation_cues_break_at_pauses() -> None:
    words = [(f"word{index}", index * 0.5, index * 0.5 + 0.5) for index in range(8)]
    later = [(f"more{index}", 4.7 + index * 0.5, 5.2 + index * 0.5) for index in range(8)]
    cues = make_cues([said(*words, *later)])
    assert [cue.text.split()[0] for cue in cues] == ["word0", "more0"]


def test_no_cue_stays_through_a_long_pause() -> None:
    cues = make_cues([said(("Well", 0, 0.4), ("then", 5, 5.4))])
    assert texts(cues) == ["Well", "then"]
    assert [(cue.start, cue.end) for cue in cues] == [(0, 834), (5000, 5834)]


def test_no_cue_ends_in_an_article_or_preposition() -> None:
    text = (
        "he went over to the house of the old man who lived near a river in the north of the "
        "country with a dog and a cat that had come from the other side of the mountains"
    )
    for style in (CueStyle(), CueStyle(max_line_width=32), CueStyle(max_line_width=25)):
        cues = make_cues([segment(text, 0, 14)], style)
        ends = [cue.text.split()[-1] for cue in cues]
        assert not set(ends) & {"the", "a", "of", "to", "in", "with", "and", "that", "from"}


def test_lines_are_balanced() -> None:
    (cue,) = make_cues([segment("ask not what your country can do for you, my friend", 0, 4)])
    first, second = map(len, cue.text_lines)
    assert abs(first - second) < 12


def test_a_sentence_may_continue_over_segments() -> None:
    cues = make_cues([segment("we shall fight on the", 0, 2), segment("beaches.", 2, 3)])
    assert texts(cues) == ["we shall fight on the beaches."]


def test_chinese_and_japanese_words_have_no_spaces() -> None:
    text = "私は昨日、東京の大きな図書館へ行きました。そこで古い友達に会って、長い間話をしました。"
    whole = segment(text, 0, 9)
    cues = make_cues([whole, replace(segment("楽しかった。", 9, 10), id=1)])
    assert "".join("".join(texts(cues)).split("\n")) == f"{text}楽しかった。"
    assert all(len(line) <= 16 for cue in cues for line in cue.text_lines)
    assert cues[0].text.endswith("。")


def test_words_without_their_spaces_get_them() -> None:
    words = tuple(
        Word(text, index, index + 1.0)
        for index, text in enumerate(["Hello", ",", "old", "friend", "日", "本", "!"])
    )
    cues = make_cues([Segment(0, 0, 7, "", "attention", words=words)])
    assert texts(cues) == ["Hello, old friend 日本!"]


def test_a_cue_too_short_to_read_begins_before_its_words() -> None:
    cues = make_cues(
        [
            said(("Stop!", 10.0, 10.2), ("Then", 10.4, 10.6)),
        ]
    )
    assert texts(cues) == ["Stop! Then"]  # better together than a flash
    short = CueStyle(max_line_width=5, max_lines=1)
    first, second = make_cues([said(("Stop!", 10.0, 10.2), ("Then", 10.4, 10.6))], short)
    assert (first.start, first.end, second.start) == (10400 - GAP - 834, 10400 - GAP, 10400)


def test_fast_speech_stays_readable_where_there_is_time() -> None:
    (cue,) = make_cues([segment("incomprehensibilities notwithstanding", 3, 4)])
    assert (cue.start, cue.end) == (3000, 3000 + 50 * len(cue.text))


def test_a_segment_without_words_is_one_cue_with_its_own_lines() -> None:
    (cue,) = make_cues([Segment(0, 1.5, 41.5, f"{'word ' * 50}\nother line", "chunk")])
    assert (cue.start, cue.end) == (1500, 41500)
    assert len(cue.lines) == 8
    assert cue.text_lines[-1] == "other line"
    assert make_cues([Segment(0, 0, 1, " ", "chunk")]) == []


@pytest.mark.parametrize(
    ("word", "following", "kind"),
    [
        (" end.", " Then", Break.SENTENCE),
        (" »end.«", " Then", Break.SENTENCE),
        (" end?", "", Break.SENTENCE),
        ("。", "次", Break.SENTENCE),
        (" Dr.", " Smith", Break.WORD),
        (" J.", " Smith", Break.WORD),
        (" i.e.", " this", Break.WORD),
        (" approx.", " ten", Break.WORD),
        (" well,", " then", Break.CLAUSE),
        (" so", " — then", Break.CLAUSE),
        ("、", "次", Break.CLAUSE),
        (" the", " house", Break.FUNCTION_WORD),
        (" house", " of", Break.PHRASE),
        (" green", " house", Break.WORD),
    ],
)
def test_breaks_are_classified(word: str, following: str, kind: Break) -> None:
    assert break_after(word, following) is kind


@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1), st.integers(8, 40))
def test_lines_hold_all_words_and_are_as_few_as_possible(words: list[str], letters: int) -> None:
    spaced = [words[0], *(f" {word}" for word in words[1:])]
    counts = break_lines(spaced, 16 * letters)
    assert sum(counts) == len(words)
    assert len(counts) == len(wrap_text(" ".join(words), 16 * letters))
    places = iter(spaced)
    for count in counts:
        assert len("".join(next(places) for _ in range(count)).strip()) <= letters


@given(st.text(), st.integers(3, 40))
def test_wrapping_keeps_the_text(text: str, letters: int) -> None:
    lines = wrap_text(text, 16 * letters)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(display_width(line) <= 16 * letters for line in lines)
