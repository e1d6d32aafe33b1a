"""Retries of defective answers: in halves, then with a repetition penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phi4audio_cli.tasks.chunk_answers import token_budget
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.tasks.retry import REPETITION_PENALTY, split_chunk
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Span

from .scripted_answers import (
    DEFECTIVE,
    FIRST_SENTENCE,
    RATE,
    REFUSAL_TEXT,
    SECOND_SENTENCE,
    answer_all,
    answer_by_attempt,
    attempt_names,
    chunk,
    make_answer,
    transcribe_chunk,
)


@pytest.mark.parametrize("flag", DEFECTIVE)
def test_a_defective_answer_is_retried_in_halves(flag: str):
    result = transcribe_chunk(answer_by_attempt(DEFECTIVE[flag], FIRST_SENTENCE, SECOND_SENTENCE))
    assert result.text == f"{FIRST_SENTENCE} {SECOND_SENTENCE}"
    assert [each.tried for each in result.segments] == [("first", "halves")] * 2
    assert [each.flags for each in result.segments] == [(), ()]
    edges = [edge for each in result.segments for edge in (each.start, each.end)]
    assert edges == pytest.approx([0, 20, 20, 40], abs=0.01)
    assert quality_warnings(result) == ()


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


def test_short_chunks_are_not_cut():
    task = Transcribe("English")
    answers = answer_all(
        task, [chunk(1.5)], answer_by_attempt(REFUSAL_TEXT, again=FIRST_SENTENCE[:9])
    )
    assert attempt_names(answers) == ["first", "penalty"]
    [segment] = task.assemble(answers, 2).segments
    assert (segment.text, segment.tried) == (FIRST_SENTENCE[:9], ("first", "penalty"))


@pytest.mark.parametrize(
    ("speech", "cut"),
    [
        ([(0, 10), (14, 16), (17, 21), (24, 30)], 12),  # the longest pause there
        ([(0, 9), (21, 30)], 15),
        ([(0, 30)], 15),  # the quietest place
        ([(0, 2), (8, 30)], 15),  # a pause in the first third is not used
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
