"""The transcribe task: its prompts, budgets and segments."""

from __future__ import annotations

import numpy as np
import pytest

from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Chunk, Generation

RATE = 16_000


def chunk(index: int, start: float, seconds: float) -> Chunk:
    return Chunk(index, np.zeros(int(seconds * RATE), np.float32), RATE, int(start * RATE))


def answer(task: Transcribe, piece: Chunk, text: str, **more) -> Generation:
    [request] = task.requests(0, piece)
    fields = {"tokens": (1, 2), "logprobs": (-0.5, -0.25), "finish": "stop"} | more
    return Generation(request, text, **fields)


def test_prompts_are_those_of_the_model_card():
    piece = chunk(0, 0, 10)
    [request] = Transcribe().requests(3, piece)
    assert request.prompt == "Transcribe the audio clip into text."
    assert (request.job, request.chunk) == (3, piece)
    [request] = Transcribe("German").requests(3, piece)
    assert request.prompt == "Transcribe the German audio clip into text."


def test_the_budget_grows_with_the_chunk_and_is_far_above_speech():
    [short], [full] = (Transcribe().requests(0, chunk(0, 0, s)) for s in (1, 40))
    assert short.max_new_tokens < full.max_new_tokens
    assert full.max_new_tokens >= 40 * 5 * 2  # 5 words a second, 2 tokens a word


def test_segments_carry_the_chunks_times_and_say_so():
    task = Transcribe("English")
    pieces = [chunk(0, 0, 30.5), chunk(1, 30.5, 20), chunk(2, 50.5, 9)]
    answers = [
        answer(task, pieces[0], "one two"),
        answer(task, pieces[1], "", tokens=(), logprobs=()),
        answer(task, pieces[2], "three", finish="length"),
    ]
    result = task.assemble(answers, seconds=59.5)
    assert result.text == "one two three"
    assert (result.language, result.duration) == ("English", 59.5)
    assert [(s.id, s.start, s.end, s.text) for s in result.segments] == [
        (0, 0.0, 30.5, "one two"),
        (1, 50.5, 59.5, "three"),
    ]
    assert {segment.times_from for segment in result.segments} == {"chunk"}
    assert [segment.finish for segment in result.segments] == ["stop", "length"]
    assert result.segments[0].avg_logprob == pytest.approx(-0.375)


def test_silence_makes_an_empty_transcript():
    result = Transcribe().assemble([], seconds=3.0)
    assert (result.text, result.segments) == ("", ())


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["one ", " two", "", "three"], "one two three"),
        (["你好", "世界"], "你好世界"),
        (["今日は", "いい天気"], "今日はいい天気"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["say 你", "good"], "say 你 good"),
        ([], ""),
    ],
)
def test_texts_are_joined_as_their_script_is_written(texts, joined):
    assert join(texts) == joined
