"""Selection among the attempts at a chunk, and the flags of the selected answer."""

from __future__ import annotations

import re
from random import Random

import pytest

from phi4audio_cli.tasks.quality import quality_warnings
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
    chunk,
    make_answer,
    transcribe_chunk,
)


@pytest.mark.parametrize("flag", DEFECTIVE)
def test_the_best_attempt_is_flagged_when_every_retry_fails(flag: str):
    text = DEFECTIVE[flag]
    result = transcribe_chunk(answer_by_attempt(text, text, text, text))
    flags = {name for each in result.segments for name in each.flags}
    assert flag in flags
    [line, *_] = quality_warnings(result)
    assert re.search(rf"doubtful: .*\b{flag}\b.* at 0:00", line)


def test_one_good_half_is_better_than_none():
    loop = ("so " * 400, "length")
    result = transcribe_chunk(
        answer_by_attempt(("so " * 700, "length"), FIRST_SENTENCE, loop, loop)
    )
    assert [each.flags for each in result.segments] == [(), ("loop", "length")]
    assert result.segments[1].finish == "length"
    assert quality_warnings(result) == ("1 segment is doubtful: loop and length at 0:20",)


def test_real_repetition_is_not_flagged_as_a_loop():
    """Forty words in forty seconds, and the halves have the same words."""
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
    """Slow enough for speech, but forty words in forty seconds and in twenty."""
    result = transcribe_chunk(lambda request: "seven " * 40)
    assert {each.flags for each in result.segments} == {("loop",)}


def test_repetition_faster_than_speech_is_a_loop():
    """Two hundred words in a second of speech, although the halves have them, too."""
    piece = chunk(speech=(Span(RATE, 2 * RATE), Span(30 * RATE, 30 * RATE + 1)))
    loop = "seven " * 200
    result = transcribe_chunk(answer_by_attempt(loop, loop, "", loop), piece)
    assert {name for each in result.segments for name in each.flags} == {"loop"}


def test_a_spoken_refusal_is_not_flagged():
    """A speaker says the words once, across the cut."""
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
            make_answer(request, REFUSAL_TEXT, logprob),
            make_answer(left, REFUSAL_TEXT),
            make_answer(right, REFUSAL_TEXT),
        ]
        result = task.assemble(answers, 40)
        assert {each.tried[-1] for each in result.segments} == {kept}
