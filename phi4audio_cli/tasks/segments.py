"""Segments from the selected answers: with times, in order, without duplicates; and coverage."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli.tasks.answer_selection import AMBIGUOUS_DEFECTS, SelectedAnswer
from phi4audio_cli.tasks.chunk_answers import chunk_of, rounded_logprob
from phi4audio_cli.text.coverage import fill_gaps, total_length, uncovered_seconds
from phi4audio_cli.text.merge import merge_words
from phi4audio_cli.text.words import Interval, interpolate_times
from phi4audio_cli.types import Chunk, Generation, Segment, Word

TIME_DIGITS = 3

SegmentBuilder: TypeAlias = Callable[[int, Generation], Segment]
"""Makes a segment from its id and an answer."""

ChunkSegment: TypeAlias = tuple[Chunk, Segment]
"""A segment and the chunk of its answer."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Speech in a recording and the part of it without text, in seconds."""

    speech: float | None
    """None without speech detection."""
    uncovered: float


def chunk_segment(index: int, answer: Generation) -> Segment:
    """Make a segment of an answer; its times are the chunk's."""
    chunk = chunk_of(answer)
    return Segment(
        id=index,
        start=chunk.start_seconds,
        end=chunk.stop_seconds,
        text=answer.text,
        times_from="chunk",
        avg_logprob=rounded_logprob(answer),
        finish=answer.finish,
        speaker=chunk.speaker,
    )


def aligned_segment(index: int, answer: Generation) -> Segment:
    """Make a segment of an answer with aligned words; without them, interpolate their times."""
    if not answer.words:
        return interpolated_segment(index, answer)
    return replace(
        chunk_segment(index, answer),
        start=answer.words[0].start,
        end=answer.words[-1].end,
        words=answer.words,
        times_from="attention",
    )


def interpolated_segment(index: int, answer: Generation) -> Segment:
    """Make a segment of an answer; its words are interpolated over the chunk's speech.

    Without detected speech, the segment has the times of the chunk. Translations always use
    this: their words cannot be aligned with the sounds of other words.
    """
    segment = chunk_segment(index, answer)
    speech = _speech_intervals(chunk_of(answer))
    if not speech or not segment.text:
        return segment
    words = interpolate_times(segment.text, speech)
    return replace(
        segment, start=words[0].start, end=words[-1].end, words=words, times_from="speech"
    )


def build_segments(selected: Iterable[SelectedAnswer], build: SegmentBuilder) -> list[ChunkSegment]:
    """Make one segment of each answer that has text of its own, or lacks text it should have.

    Args:
        selected: About all chunks, in any order.
        build: Makes a segment of an answer.

    Returns:
        Numbered segments in order of time over all speakers, each with its chunk. Segments of one
        speaker do not overlap; those of two speakers may.
    """
    tracks = [_speaker_segments(answers, build) for answers in _group_by_speaker(selected)]
    merged = heapq.merge(*tracks, key=lambda pair: pair[1].start)
    return [(chunk, replace(segment, id=index)) for index, (chunk, segment) in enumerate(merged)]


def measure_coverage(selected: Iterable[SelectedAnswer]) -> Coverage:
    """Measure the speech, and the part of it that the answers leave without text."""
    speech = uncovered = 0.0
    detected = True
    for answers in _group_by_speaker(selected):
        chunks = [chunk_of(one.answer) for one in answers]
        detected = detected and any(chunk.speech for chunk in chunks)
        spoken = [interval for chunk in chunks for interval in _speech_intervals(chunk)]
        covered = [interval for one in answers for interval in _covered_intervals(one)]
        speech += total_length(spoken)
        uncovered += uncovered_seconds(spoken, covered)
    return Coverage(round(speech, TIME_DIGITS) if detected else None, round(uncovered, TIME_DIGITS))


def drop_duplicates(segments: Sequence[Segment], chunks: Sequence[Chunk]) -> list[Segment]:
    """Drop words that two neighbouring segments both have where their chunks overlap.

    Args:
        segments: Of one speaker, in order.
        chunks: The chunk of each segment.

    Returns:
        As many segments, without overlaps; a segment with no words of its own has an empty text.
    """
    result = list(segments)
    last: int | None = None
    for index, chunk in enumerate(chunks):
        if last is not None and chunks[last].stop > chunk.start:
            result[last], result[index] = _split_overlap(
                result[last], chunks[last], result[index], chunk
            )
        last = index if result[index].text else last
    return result


def _split_overlap(
    left: Segment, left_chunk: Chunk, right: Segment, right_chunk: Chunk
) -> tuple[Segment, Segment]:
    start, stop = right_chunk.start_seconds, left_chunk.stop_seconds
    first, second = merge_words(
        _words_or_interpolated(left, left_chunk),
        _words_or_interpolated(right, right_chunk),
        start,
        stop,
    )
    middle = (start + stop) / 2
    left = _replace_words(replace(left, end=middle), first, keep=bool(left.words))
    right = _replace_words(replace(right, start=middle), second, keep=bool(right.words))
    return left, right


def _words_or_interpolated(segment: Segment, chunk: Chunk) -> Sequence[Word]:
    """Return the segment's words; words without times are interpolated over the whole chunk."""
    if segment.words:
        return segment.words
    return interpolate_times(segment.text, [(chunk.start_seconds, chunk.stop_seconds)])


def _replace_words(segment: Segment, words: Sequence[Word], *, keep: bool) -> Segment:
    """Return the segment with the text of other words, and the words themselves if `keep`."""
    text = "".join(word.word for word in words).strip()
    if not keep or not words:
        return replace(segment, text=text, words=())
    return replace(segment, text=text, words=tuple(words), start=words[0].start, end=words[-1].end)


def _group_by_speaker(selected: Iterable[SelectedAnswer]) -> list[list[SelectedAnswer]]:
    """Return each speaker's answers in the order of their chunks."""
    groups: dict[str, list[SelectedAnswer]] = {}
    for one in sorted(selected, key=lambda one: _chunk_order(chunk_of(one.answer))):
        groups.setdefault(chunk_of(one.answer).speaker or "", []).append(one)
    return [answers for _, answers in sorted(groups.items())]


def _chunk_order(chunk: Chunk) -> tuple[int, int]:
    return chunk.index, chunk.start


def _speaker_segments(
    selected: Sequence[SelectedAnswer], build: SegmentBuilder
) -> list[ChunkSegment]:
    """Return the segments of one speaker in order, those without duplicates and those missing."""
    with_text = [one for one in selected if one.answer.text]
    chunks = [chunk_of(one.answer) for one in with_text]
    distinct = drop_duplicates(
        [_with_flags(one, build(0, one.answer)) for one in with_text], chunks
    )
    pairs = [pair for pair in zip(chunks, distinct, strict=True) if pair[1].text]
    # An empty answer about speech becomes a segment, too: its flags show the gap.
    pairs += [
        (chunk_of(one.answer), _with_flags(one, chunk_segment(0, one.answer)))
        for one in selected
        if one.flags and not one.answer.text
    ]
    return sorted(pairs, key=lambda pair: _chunk_order(pair[0]))


def _with_flags(one: SelectedAnswer, segment: Segment) -> Segment:
    return replace(segment, flags=one.flags, tried=one.tried)


def _speech_intervals(chunk: Chunk) -> list[Interval]:
    rate = chunk.sample_rate
    return [(span.start / rate, span.stop / rate) for span in chunk.speech if len(span)]


def _covered_intervals(one: SelectedAnswer) -> Sequence[Interval]:
    """Return the intervals of the recording that an answer's words cover, in seconds."""
    chunk = chunk_of(one.answer)
    if not one.answer.text or AMBIGUOUS_DEFECTS & set(one.flags):
        return ()
    if not one.answer.words:
        return [(chunk.start_seconds, chunk.stop_seconds)]
    return fill_gaps(
        [(word.start, word.end) for word in one.answer.words], _speech_intervals(chunk)
    )
