"""Doubtful answers: what is asked again, what is kept, and what it says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from phi4audio_cli.languages import find_language
from phi4audio_cli.tasks.chunk_answers import token_budget
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.tasks.retry import REPETITION_PENALTY, split_chunk
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.tasks.translate_task import Translate
from phi4audio_cli.types import Request, Span

from .scripted_answers import (
    FIRST_SENTENCE,
    RATE,
    REFUSAL_TEXT,
    SECOND_SENTENCE,
    ScriptedText,
    answer_all,
    answer_by_attempt,
    attempt_names,
    chunk,
    make_answer,
    transcribe_chunk,
)

DEFECTIVE = {
    "empty": "",
    "refusal": REFUSAL_TEXT,
    "echo": "Transcribe the English audio clip into text.",
    "script": "Это было вчера вечером.",
    "loop": ("and so on " * 200, "length"),
    "length": (FIRST_SENTENCE, "length"),
    "rate": " ".join(f"word{n}" for n in range(400)),
}


@pytest.mark.parametrize("flag", DEFECTIVE)
def test_a_defective_answer_is_retried_in_halves(flag: str):
    result = transcribe_chunk(answer_by_attempt(DEFECTIVE[flag], FIRST_SENTENCE, SECOND_SENTENCE))
    assert result.text == f"{FIRST_SENTENCE} {SECOND_SENTENCE}"
    assert [each.tried for each in result.segments] == [("first", "halves")] * 2
    assert [each.flags for each in result.segments] == [(), ()]
    edges = [edge for each in result.segments for edge in (each.start, each.end)]
    assert edges == pytest.approx([0, 20, 20, 40], abs=0.01)
    assert quality_warnings(result) == ()


@pytest.mark.parametrize("flag", DEFECTIVE)
def test_the_best_attempt_is_flagged_when_every_retry_fails(flag: str):
    said = DEFECTIVE[flag]
    result = transcribe_chunk(answer_by_attempt(said, said, said, said))
    flags = {name for each in result.segments for name in each.flags}
    assert flag in flags
    [line, *_] = quality_warnings(result)
    assert re.search(rf"doubtful: .*\b{flag}\b.* at 0:00", line)


def test_a_good_answer_is_not_retried():
    task = Transcribe("English")
    answers = answer_all(task, [chunk()], lambda request: FIRST_SENTENCE)
    assert attempt_names(answers) == ["first"]
    [segment] = task.assemble(answers, 40).segments
    assert (segment.flags, segment.tried) == ((), ())


def test_little_or_no_speech_may_be_empty():
    for speech in ((), (Span(0, RATE // 2),)):
        task = Transcribe("English")
        answers = answer_all(task, [chunk(speech=speech)], lambda request: "")
        assert attempt_names(answers) == ["first"]
        assert task.assemble(answers, 40).segments == ()


def test_a_defective_half_is_retried_with_a_repetition_penalty():
    loop = ("so " * 400, "length")
    task = Transcribe("English")
    answers = answer_all(
        task,
        [chunk()],
        answer_by_attempt(("so " * 700, "length"), FIRST_SENTENCE, loop, SECOND_SENTENCE),
    )
    assert attempt_names(answers) == ["first", "halves", "halves", "penalty"]
    last = answers[-1].request
    assert (last.repetition_penalty, last.chunk) == (REPETITION_PENALTY, answers[2].request.chunk)
    result = task.assemble(answers, 40)
    assert result.text == f"{FIRST_SENTENCE} {SECOND_SENTENCE}"
    assert [each.tried for each in result.segments] == [
        ("first", "halves"), ("first", "halves", "penalty"),
    ]  # fmt: skip


def test_one_good_half_is_better_than_none():
    loop = ("so " * 400, "length")
    result = transcribe_chunk(
        answer_by_attempt(("so " * 700, "length"), FIRST_SENTENCE, loop, loop)
    )
    assert [each.flags for each in result.segments] == [(), ("loop", "length")]
    assert result.segments[1].finish == "length"
    assert quality_warnings(result) == ("1 segment is doubtful: loop and length at 0:20",)


def test_real_repetition_is_not_flagged_as_a_loop():
    """Forty times in forty seconds, and both halves say it again."""
    result = transcribe_chunk(answer_by_attempt("seven " * 40, "seven " * 19, "seven " * 21))
    [segment] = result.segments
    assert segment.text.split() == ["seven"] * 40
    assert (segment.flags, segment.tried) == ((), ("halves", "first"))
    assert quality_warnings(result) == ()


def test_repetition_missing_from_the_halves_is_a_loop():
    result = transcribe_chunk(
        answer_by_attempt("seven " * 100, "seven " * 12 + "one two three", SECOND_SENTENCE)
    )
    assert result.text.split() == ["seven"] * 12 + ["one", "two", "three", *SECOND_SENTENCE.split()]
    assert {each.flags for each in result.segments} == {()}


def test_a_loop_that_is_as_long_in_every_half_is_flagged():
    """Slow enough to be said, but forty words in forty seconds and in twenty."""
    result = transcribe_chunk(lambda request: "seven " * 40)
    assert {each.flags for each in result.segments} == {("loop",)}


def test_repetition_faster_than_speech_is_a_loop():
    """Two hundred words in a second of speech, though the halves say them again."""
    piece = chunk(speech=(Span(RATE, 2 * RATE), Span(30 * RATE, 30 * RATE + 1)))
    loop = "seven " * 200
    result = transcribe_chunk(answer_by_attempt(loop, loop, "", loop), piece)
    assert {name for each in result.segments for name in each.flags} == {"loop"}


def test_a_spoken_refusal_is_not_flagged():
    """Somebody says it once, over the cut."""
    words = REFUSAL_TEXT.split()
    result = transcribe_chunk(
        answer_by_attempt(REFUSAL_TEXT, " ".join(words[:4]), " ".join(words[4:]))
    )
    [segment] = result.segments
    assert (segment.text, segment.flags) == (REFUSAL_TEXT, ())


def test_a_model_that_refuses_everything_is_flagged():
    result = transcribe_chunk(lambda request: REFUSAL_TEXT)
    assert {each.flags for each in result.segments} == {("refusal",)}
    assert result.uncovered == result.speech == 40


def test_short_chunks_are_not_cut():
    task = Transcribe("English")
    answers = answer_all(
        task, [chunk(1.5)], answer_by_attempt(REFUSAL_TEXT, again=FIRST_SENTENCE[:9])
    )
    assert attempt_names(answers) == ["first", "penalty"]
    [segment] = task.assemble(answers, 2).segments
    assert (segment.text, segment.tried) == (FIRST_SENTENCE[:9], ("first", "penalty"))


def test_the_order_of_answers_doesn_t_matter():
    task = Transcribe("English")
    script = answer_by_attempt(
        ("so " * 700, "length"), FIRST_SENTENCE, ("so " * 400, "length"), SECOND_SENTENCE
    )
    chunks = [chunk(index=n, start=40 * n) for n in range(3)]
    answers = answer_all(task, chunks, script)
    expected = task.assemble(answers, 120)
    for seed in range(10):
        Random(seed).shuffle(answers)
        assert task.assemble(answers, 120) == expected


def test_the_higher_logprob_wins_between_equally_defective_answers():
    task = Transcribe("English")
    [request] = task.requests(0, chunk())
    left, right = task.retry(make_answer(request, REFUSAL_TEXT))
    for logprob, kept in ((-0.1, "first"), (-0.9, "halves")):
        answers = [
            make_answer(request, REFUSAL_TEXT, logprob), make_answer(left, REFUSAL_TEXT), make_answer(right, REFUSAL_TEXT),
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
    left, right = split_chunk(piece)
    assert np.array_equal(np.concatenate([left.samples, right.samples]), piece.samples)
    assert (left.start, right.start) == (piece.start, piece.start + len(left.samples))
    assert left.seconds == pytest.approx(cut, abs=0.05)
    assert {(half.index, half.speaker) for half in (left, right)} == {(7, "left")}
    assert sum(len(s) for half in (left, right) for s in half.speech) == sum(map(len, spans))
    assert all(s.stop <= left.stop for s in left.speech)
    assert all(right.start <= s.start for s in right.speech)


def test_half_requests_copy_the_first_request_with_their_own_token_budget():
    task = Transcribe("English")
    [request] = task.requests(3, chunk())
    for each in task.retry(make_answer(request, "")):
        assert each.max_new_tokens == token_budget(each.chunk) < request.max_new_tokens
        expected = replace(
            request, chunk=each.chunk, max_new_tokens=each.max_new_tokens, attempt="halves"
        )
        for name in ("job", "prompt", "label", "align", "attempt", "repetition_penalty"):
            assert getattr(each, name) == getattr(expected, name)


def test_a_segment_in_another_script_than_the_recording_is_flagged():
    task = Transcribe(align="none")
    chunks = [chunk(index=n, start=40 * n) for n in range(6)]
    script = lambda request: (
        "这是一个测试" if request.chunk.index == 3 else f"{FIRST_SENTENCE} {SECOND_SENTENCE}"
    )  # noqa: E731
    result = task.assemble(answer_all(task, chunks, script), 240)
    assert result.language == "English"
    assert [each.flags for each in result.segments] == [(), (), (), ("script",), (), ()]


# Translations

FRENCH = find_language("fr")


def test_only_the_defective_translation_is_retried():
    task = Translate([FRENCH, find_language("de")], "English")

    def said(request: Request) -> ScriptedText:
        if "German" in request.prompt:
            return "eins zwei drei"
        return answer_by_attempt(("un " * 700, "length"), "un deux", "trois")(request)

    answers = answer_all(task, [chunk()], said)
    assert len(answers) == 4
    french, german = task.assemble(answers, 40).each
    assert [each.text for each in french.segments] == ["un deux", "trois"]
    assert [each.text for each in german.segments] == ["eins zwei drei"]
    assert french.segments[0].tried == ("first", "halves")


def test_a_defective_combined_answer_is_retried_separately_then_in_halves():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> ScriptedText:
        if "<sep>" in request.prompt:
            return f"{FIRST_SENTENCE} <sep> {'un ' * 700}", "length"
        if "Transcribe" in request.prompt:
            return FIRST_SENTENCE
        return answer_by_attempt(("un " * 700, "length"), "un deux", "trois")(request)

    result = task.assemble(answer_all(task, [chunk()], said), 40)
    first, second = result.each[0].segments
    assert (first.text, second.text) == ("un deux", "trois")
    assert (first.transcript, second.transcript) == (FIRST_SENTENCE, None)
    assert quality_warnings(result) == ()


def test_a_separate_answer_replaces_a_looping_combined_answer():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> ScriptedText:
        if "<sep>" in request.prompt:
            return f"{FIRST_SENTENCE} <sep> {'un ' * 60}"
        return FIRST_SENTENCE if "Transcribe" in request.prompt else "un deux trois"

    answers = answer_all(task, [chunk()], said)
    assert attempt_names(answers) == ["first"] * 3
    for order in (answers, answers[::-1]):
        [segment] = task.assemble(order, 40).each[0].segments
        assert (segment.transcript, segment.text, segment.flags) == (
            FIRST_SENTENCE,
            "un deux trois",
            (),
        )


def test_half_transcripts_pair_with_half_translations():
    task = Translate([FRENCH], "English", with_transcript=True)

    def said(request: Request) -> ScriptedText:
        if request.attempt == "first":
            return ""
        words = ("one", "two") if "Transcribe" in request.prompt else ("un", "deux")
        return words[request.chunk.start > 0]

    [translation] = task.assemble(answer_all(task, [chunk()], said), 40).each
    beside = [(each.transcript, each.text) for each in translation.segments]
    assert beside == [("one", "un"), ("two", "deux")]
