"""The transcribe task: its prompts, budgets and segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Chunk, Generation, Span, Word

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


def test_without_alignment_segments_have_the_times_of_their_chunks():
    task = Transcribe("English", align="none")
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


def test_aligned_words_set_the_segment_times():
    task = Transcribe()
    words = (Word("one", 2.0, 2.5, 0.9), Word(" two", 3.0, 3.25, 0.8))
    piece = chunk(0, 1.5, 10)
    [request] = task.requests(0, piece)
    assert request.align
    [segment] = task.assemble([answer(task, piece, "one two", words=words)], 20).segments
    assert (segment.start, segment.end, segment.words) == (2.0, 3.25, words)
    assert segment.times_from == "attention"


@pytest.mark.parametrize("align", ["attention", "speech"])
def test_unaligned_words_are_interpolated_over_speech(align):
    task = Transcribe(align=align)
    piece = replace(chunk(0, 1, 9), speech=(Span(2 * RATE, 4 * RATE), Span(6 * RATE, 8 * RATE)))
    [request] = task.requests(0, piece)
    assert request.align == (align == "attention")
    [segment] = task.assemble([answer(task, piece, "one two")], 20).segments
    assert [(word.start, word.end) for word in segment.words] == [(2.0, 4.0), (6.0, 8.0)]
    assert segment.times_from == "speech"


def test_without_vad_segments_have_the_chunk_times():
    task = Transcribe()
    [segment] = task.assemble([answer(task, chunk(0, 1, 9), "one two")], 20).segments
    assert (segment.start, segment.end, segment.words) == (1.0, 10.0, ())
    assert segment.times_from == "chunk"


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
    assert join_texts(texts) == joined
