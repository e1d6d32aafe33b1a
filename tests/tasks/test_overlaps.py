"""Segments of overlapping chunks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Span, Word
from tests.tasks.test_transcribe_task import RATE, answer, chunk

SPOKEN_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def words(first: int, last: int) -> tuple[Word, ...]:
    """Return words of which number n lasts from second n to n + 0.5."""
    spoken = enumerate(SPOKEN_WORDS[first:last], start=first)
    return tuple(Word(f" {word}" if n > first else word, n, n + 0.5, 0.9) for n, word in spoken)


def overlapping_answer(task: Transcribe, index: int, first: int, last: int, *, timed: bool):
    """Return the answer about the chunk with the words from `first` up to `last`."""
    piece = replace(
        chunk(index, first, last - first), speech=(Span(first * RATE, last * RATE),) * (not timed)
    )
    text = " ".join(SPOKEN_WORDS[first:last])
    return answer(task, piece, text, words=words(first, last) if timed else ())


@pytest.mark.parametrize("align", ["attention", "speech", "none"])
@pytest.mark.parametrize(("stop", "start"), [(5, 3), (5, 4), (8, 1), (4, 4)])
def test_no_word_is_lost_or_doubled(align: str, stop: int, start: int):
    task = Transcribe(align=align)
    timed = align == "attention"
    pieces = [
        overlapping_answer(task, 0, 0, stop, timed=timed),
        overlapping_answer(task, 1, start, 8, timed=timed),
    ]
    result = task.assemble(pieces, seconds=8)
    assert result.text.split() == SPOKEN_WORDS
    edges = [edge for segment in result.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert [segment.id for segment in result.segments] == list(range(len(result.segments)))
    if timed:
        assert [word.start for s in result.segments for word in s.words] == list(range(8))


def test_a_chunk_without_words_of_its_own_makes_no_segment():
    task = Transcribe()
    pieces = [
        overlapping_answer(task, 0, 0, 5, timed=True),
        overlapping_answer(task, 1, 3, 5, timed=True),
    ]
    result = task.assemble(pieces, seconds=8)
    assert result.text.split() == SPOKEN_WORDS[:5]
    assert all(segment.text for segment in result.segments)
