"""Defects of answers, and flags of segments."""

from __future__ import annotations

import pytest

from phi4audio_cli.tasks import quality
from phi4audio_cli.tasks.quality import assess
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Generation, Request, Span

from .scripted_answers import (
    DEFECTIVE,
    FIRST_SENTENCE,
    RATE,
    SECOND_SENTENCE,
    ScriptedText,
    answer_all,
    answer_by_attempt,
    chunk,
    make_answer,
)


def answer(text: ScriptedText, seconds: float = 40, **more) -> Generation:
    [request] = Transcribe("English").requests(0, chunk(seconds, **more))
    return make_answer(request, text)


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_each_defect_is_suspected_and_confirmed(defect: str):
    assessment = assess(answer(DEFECTIVE[defect]), "English")
    assert defect in assessment.suspected
    assert assessment.confirmed == assessment.suspected


def test_an_answer_without_defects_is_clean():
    assessment = assess(answer(FIRST_SENTENCE), "English")
    assert (assessment.suspected, assessment.confirmed) == ((), ())


def test_without_a_language_the_scripts_of_all_languages_of_the_model_are_expected():
    assert assess(answer("这是一个测试"), "English").suspected == ("script",)
    assert assess(answer("这是一个测试"), None).suspected == ()
    assert assess(answer(DEFECTIVE["script"]), None).suspected == ("script",)


def test_repetition_at_the_rate_of_speech_is_suspected_but_not_confirmed():
    assessment = assess(answer("seven " * 40), "English")
    assert (assessment.suspected, assessment.confirmed) == (("loop",), ())


def test_repetition_faster_than_the_detected_speech_is_confirmed():
    second = (Span(0, RATE),)
    assert assess(answer("seven " * 40, speech=second), "English").confirmed == ("loop",)


def test_retry_and_assemble_assess_each_answer_once(monkeypatch: pytest.MonkeyPatch):
    texts: list[str] = []
    is_refusal = quality.is_refusal
    monkeypatch.setattr(quality, "is_refusal", lambda text: texts.append(text) or is_refusal(text))
    task = Transcribe("English")
    script = answer_by_attempt(("so " * 700, "length"), FIRST_SENTENCE, SECOND_SENTENCE)
    answers = answer_all(task, [chunk()], script)
    assert sorted(texts) == sorted(each.text for each in answers)
    texts.clear()
    task.assemble(answers, 40)
    assert sorted(texts) == sorted(each.text for each in answers)


def test_a_segment_in_another_script_than_the_recording_is_flagged():
    task = Transcribe(align="none")
    chunks = [chunk(index=n, start=40 * n) for n in range(6)]

    def script(request: Request) -> str:
        if request.chunk.index == 3:
            return "这是一个测试"
        return f"{FIRST_SENTENCE} {SECOND_SENTENCE}"

    result = task.assemble(answer_all(task, chunks, script), 240)
    assert result.language == "English"
    assert [each.flags for each in result.segments] == [(), (), (), ("script",), (), ()]
