"""Segments: coverage of speech, simultaneous speakers, and truncated answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi4audio_cli.tasks.ask_task import Ask
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.tasks.summarize_task import Summarize
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Word

from .scripted_answers import FIRST_SENTENCE, chunk, make_answer


def words(*times: tuple[float, float]) -> tuple[Word, ...]:
    return tuple(Word(f" w{n}", a, b) for n, (a, b) in enumerate(times))


def test_speech_without_text_is_counted():
    task = Transcribe("English")
    chunks = [chunk(10, n, 10 * n) for n in range(3)]
    first, second, third = (next(iter(task.requests(0, each))) for each in chunks)
    answers = [
        replace(make_answer(first, FIRST_SENTENCE), words=words((0, 3), (4.5, 5), (9, 10))),
        make_answer(second, ""),
        make_answer(third, FIRST_SENTENCE),
    ]
    result = task.assemble(answers, 30)
    assert result.speech == 30
    assert result.uncovered == 4 + 10
    assert quality_warnings(result) == (
        "1 segment is doubtful: empty at 0:10",
        "14.0 s of 30.0 s of speech have no text",
    )
    assert quality_warnings(result, max_uncovered=0.5) == quality_warnings(result)[:1]


def test_speech_duration_is_unknown_without_vad():
    task = Transcribe("English")
    [request] = task.requests(0, chunk(speech=()))
    result = task.assemble([make_answer(request, "")], 40)
    assert (result.speech, result.uncovered) == (None, 0)
    assert task.assemble([], 40).speech == 0  # speech detection ran and found no speech


def test_overlapping_speakers_stay_in_order_and_complete():
    """Chunks of two speakers overlap without duplicates."""
    task = Transcribe("English")
    pieces = [
        chunk(10, 0, 0, speaker="left"),
        chunk(10, 1, 20, speaker="left"),
        chunk(25, 2, 2, speaker="right"),
    ]
    answers = [make_answer(r, FIRST_SENTENCE) for each in pieces for r in task.requests(0, each)]
    result = task.assemble(answers, 30)
    assert [(each.speaker, each.text) for each in result.segments] == [
        ("left", FIRST_SENTENCE), ("right", FIRST_SENTENCE), ("left", FIRST_SENTENCE),
    ]  # fmt: skip
    assert [each.id for each in result.segments] == [0, 1, 2]
    assert result.speech == 45


def test_an_empty_chunk_takes_no_words_from_an_overlapping_chunk():
    task = Transcribe("English", align="speech")
    pieces = [chunk(10, 0, 0), chunk(10, 1, 5)]
    first, second = (next(iter(task.requests(0, each))) for each in pieces)
    result = task.assemble([make_answer(first, FIRST_SENTENCE), make_answer(second, "")], 15)
    assert result.text == FIRST_SENTENCE
    assert [(each.text, each.flags) for each in result.segments] == [
        (FIRST_SENTENCE, ()),
        ("", ("empty",)),
    ]
    assert result.uncovered == 5


@pytest.mark.parametrize("task", [Summarize(), Ask("What is it about?")])
def test_a_truncated_summary_has_a_warning(task: Task):
    [request] = task.requests(0, chunk(30))
    for finish, lines in (("stop", 0), ("length", 1)):
        result = task.assemble([make_answer(request, (FIRST_SENTENCE, finish))], 30)
        assert result.finish == finish
        assert len(quality_warnings(result)) == lines
