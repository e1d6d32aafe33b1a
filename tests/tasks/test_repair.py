"""Doubtful answers: what is asked again, what is kept, and what it says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from phi4audio_cli.languages import find_language
from phi4audio_cli.tasks.pieces import speech_budget
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.tasks.repair import PENALTY, halve
from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.tasks.translate import Translate
from phi4audio_cli.types import Request, Span

from .answers import (
    MORE,
    RATE,
    REFUSAL,
    TALK,
    Said,
    answer,
    ask,
    attempts,
    by_part,
    chunk,
    transcript,
)

DOUBTFUL = {
    "empty": "",
    "refusal": REFUSAL,
    "echo": "Transcribe the English audio clip into text.",
    "script": "Это было вчера вечером.",
    "loop": ("and so on " * 200, "length"),
    "length": (TALK, "length"),
    "rate": " ".join(f"word{n}" for n in range(400)),
}


@pytest.mark.parametrize("flag", DOUBTFUL)
def test_what_is_doubtful_is_asked_about_again_in_halves(flag: str):
    result = transcript(by_part(DOUBTFUL[flag], TALK, MORE))
    assert result.text == f"{TALK} {MORE}"
    assert [each.tried for each in result.segments] == [("first", "halves")] * 2
    assert [each.flags for each in result.segments] == [(), ()]
    edges = [edge for each in result.segments for edge in (each.start, each.end)]
    assert edges == pytest.approx([0, 20, 20, 40], abs=0.01)
    assert quality_warnings(result) == ()


@pytest.mark.parametrize("flag", DOUBTFUL)
def test_where_nothing_helps_the_best_is_kept_and_flagged(flag: str):
    said = DOUBTFUL[flag]
    result = transcript(by_part(said, said, said, said))
    flags = {name for each in result.segments for name in each.flags}
    assert flag in flags
    [line, *_] = quality_warnings(result)
    assert re.search(rf"doubtful: .*\b{flag}\b.* at 0:00", line)


def test_what_is_fine_is_asked_once():
    task = Transcribe("English")
    answers = ask(task, [chunk()], lambda request: TALK)
    assert attempts(answers) == ["first"]
    [segment] = task.assemble(answers, 40).segments
    assert (segment.flags, segment.tried) == ((), ())


def test_little_or_no_speech_may_be_empty():
    for speech in ((), (Span(0, RATE // 2),)):
        task = Transcribe("English")
        answers = ask(task, [chunk(speech=speech)], lambda request: "")
        assert attempts(answers) == ["first"]
        assert task.assemble(answers, 40).segments == ()


def test_a_half_that_is_still_doubtful_gets_a_penalty():
    loop = ("so " * 400, "length")
    task = Transcribe("English")
    answers = ask(task, [chunk()], by_part(("so " * 700, "length"), TALK, loop, MORE))
    assert attempts(answers) == ["first", "halves", "halves", "penalty"]
    last = answers[-1].request
    assert (last.repetition_penalty, last.chunk) == (PENALTY, answers[2].request.chunk)
    result = task.assemble(answers, 40)
    assert result.text == f"{TALK} {MORE}"
    assert [each.tried for each in result.segments] == [
        ("first", "halves"), ("first", "halves", "penalty"),
    ]  # fmt: skip


def test_one_good_half_is_better_than_none():
    loop = ("so " * 400, "length")
    result = transcript(by_part(("so " * 700, "length"), TALK, loop, loop))
    assert [each.flags for each in result.segments] == [(), ("loop", "length")]
    assert result.segments[1].finish == "length"
    assert quality_warnings(result) == ("1 segment is doubtful: loop and length at 0:20",)


def test_what_is_really_said_many_times_is_no_loop():
    """Forty times in forty seconds, and both halves say it again."""
    result = transcript(by_part("seven " * 40, "seven " * 19, "seven " * 21))
    [segment] = result.segments
    assert segment.text.split() == ["seven"] * 40
    assert (segment.flags, segment.tried) == ((), ("halves", "first"))
    assert quality_warnings(result) == ()


def test_what_the_halves_don_t_say_again_is_a_loop():
    result = transcript(by_part("seven " * 100, "seven " * 12 + "one two three", MORE))
    assert result.text.split() == ["seven"] * 12 + ["one", "two", "three", *MORE.split()]
    assert {each.flags for each in result.segments} == {()}


def test_a_loop_that_is_as_long_in_every_half_is_flagged():
    """Slow enough to be said, but forty words in forty seconds and in twenty."""
    result = transcript(lambda request: "seven " * 40)
    assert {each.flags for each in result.segments} == {("loop",)}


def test_what_nobody_can_say_so_fast_is_a_loop():
    """Two hundred words in a second of speech, though the halves say them again."""
    piece = chunk(speech=(Span(RATE, 2 * RATE), Span(30 * RATE, 30 * RATE + 1)))
    loop = "seven " * 200
    result = transcript(by_part(loop, loop, "", loop), piece)
    assert {name for each in result.segments for name in each.flags} == {"loop"}


def test_a_refusal_that_was_really_said_is_kept():
    """Somebody says it once, over the cut."""
    words = REFUSAL.split()
    result = transcript(by_part(REFUSAL, " ".join(words[:4]), " ".join(words[4:])))
    [segment] = result.segments
    assert (segment.text, segment.flags) == (REFUSAL, ())


def test_a_model_that_refuses_everything_is_flagged():
    result = transcript(lambda request: REFUSAL)
    assert {each.flags for each in result.segments} == {("refusal",)}
    assert result.uncovered == result.speech == 40


def test_short_chunks_are_not_cut():
    task = Transcribe("English")
    answers = ask(task, [chunk(1.5)], by_part(REFUSAL, again=TALK[:9]))
    assert attempts(answers) == ["first", "penalty"]
    [segment] = task.assemble(answers, 2).segments
    assert (segment.text, segment.tried) == (TALK[:9], ("first", "penalty"))


def test_the_order_of_answers_doesn_t_matter():
    task = Transcribe("English")
    script = by_part(("so " * 700, "length"), TALK, ("so " * 400, "length"), MORE)
    chunks = [chunk(index=n, start=40 * n) for n in range(3)]
    answers = ask(task, chunks, script)
    expected = task.assemble(answers, 120)
    for seed in range(10):
        Random(seed).shuffle(answers)
        assert task.assemble(answers, 120) == expected


def test_the_better_answer_is_the_surer_one_where_both_are_doubtful():
    task = Transcribe("English")
    [request] = task.requests(0, chunk())
    left, right = task.repair(answer(request, REFUSAL))
    for logprob, kept in ((-0.1, "first"), (-0.9, "halves")):
        answers = [
            answer(request, REFUSAL, logprob), answer(left, REFUSAL), answer(right, REFUSAL),
        ]  # fmt: skip
        result = task.assemble(answers, 40)
        assert {each.tried[-1] for each in result.segments} == {kept}


@pytest.mark.parametrize(
    ("speech", "cut"),
    [
        ([(0, 10), (14, 16), (17, 21), (24, 30)], 12),  # the longest pause there
        ([(0, 9), (21, 30)], 15),
        ([(0, 30)], 15),  # the quietest place
        ([(0, 2), (8, 30)], 15),  # a pause in the first third is no good
        ([], 15),
    ],
)
def test_chunks_are_cut_at_a_pause_in_their_middle(speech, cut):
    spans = tuple(Span((60 + a) * RATE, (60 + b) * RATE) for a, b in speech)
    piece = chunk(30, index=7, start=60, speech=spans, speaker="left")
    left, right = halve(piece)
    assert np.array_equal(np.concatenate([left.samples, right.samples]), piece.samples)
    assert (left.start, right.start) == (piece.start, piece.start + len(left.samples))
    assert left.seconds == pytest.approx(cut, abs=0.05)
    assert {(half.index, half.speaker) for half in (left, right)} == {(7, "left")}
    assert sum(len(s) for half in (left, right) for s in half.speech) == sum(map(len, spans))
    assert all(s.stop <= left.stop for s in left.speech)
    assert all(right.start <= s.start for s in right.speech)


def test_halves_are_asked_as_the_whole_was_with_their_own_budget():
    task = Transcribe("English")
    [request] = task.requests(3, chunk())
    for each in task.repair(answer(request, "")):
        assert each.max_new_tokens == speech_budget(each.chunk) < request.max_new_tokens
        expected = replace(
            request, chunk=each.chunk, max_new_tokens=each.max_new_tokens, attempt="halves"
        )
        for name in ("job", "prompt", "label", "align", "attempt", "repetition_penalty"):
            assert getattr(each, name) == getattr(expected, name)


def test_a_segment_in_another_script_than_the_recording_is_flagged():
    task = Transcribe(align="none")
    chunks = [chunk(index=n, start=40 * n) for n in range(6)]
    script = lambda request: "这是一个测试" if request.chunk.index == 3 else f"{TALK} {MORE}"  # noqa: E731
    result = task.assemble(ask(task, chunks, script), 240)
    assert result.language == "English"
    assert [each.flags for each in result.segments] == [(), (), (), ("script",), (), ()]


# Translations

FRENCH = find_language("fr")


def test_a_doubtful_translation_is_repaired_alone():
    task = Translate([FRENCH, find_language("de")], "English")

    def said(request: Request) -> Said:
        if "German" in request.prompt:
            return "eins zwei drei"
        return by_part(("un " * 700, "length"), "un deux", "trois")(request)

    answers = ask(task, [chunk()], said)
    assert len(answers) == 4
    french, german = task.assemble(answers, 40).each
    assert [each.text for each in french.segments] == ["un deux", "trois"]
    assert [each.text for each in german.segments] == ["eins zwei drei"]
    assert french.segments[0].tried == ("first", "halves")


def test_a_doubtful_answer_for_both_is_asked_plainly_and_then_in_halves():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> Said:
        if "<sep>" in request.prompt:
            return f"{TALK} <sep> {'un ' * 700}", "length"
        if "Transcribe" in request.prompt:
            return TALK
        return by_part(("un " * 700, "length"), "un deux", "trois")(request)

    result = task.assemble(ask(task, [chunk()], said), 40)
    first, second = result.each[0].segments
    assert (first.text, second.text) == ("un deux", "trois")
    assert (first.transcript, second.transcript) == (TALK, None)
    assert quality_warnings(result) == ()


def test_a_plain_answer_is_better_than_one_for_both_that_may_loop():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> Said:
        if "<sep>" in request.prompt:
            return f"{TALK} <sep> {'un ' * 60}"
        return TALK if "Transcribe" in request.prompt else "un deux trois"

    answers = ask(task, [chunk()], said)
    assert attempts(answers) == ["first"] * 3
    for order in (answers, answers[::-1]):
        [segment] = task.assemble(order, 40).each[0].segments
        assert (segment.transcript, segment.text, segment.flags) == (TALK, "un deux trois", ())


def test_halves_of_both_stand_beside_each_other():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> Said:
        if request.attempt == "first":
            return ""
        words = ("one", "two") if "Transcribe" in request.prompt else ("un", "deux")
        return words[request.chunk.start > 0]

    [translation] = task.assemble(ask(task, [chunk()], said), 40).each
    beside = [(each.transcript, each.text) for each in translation.segments]
    assert beside == [("one", "un"), ("two", "deux")]
