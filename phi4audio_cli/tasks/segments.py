"""Segments in order of time from the selected answers, without duplicates, and their coverage."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli.tasks.chunk_answers import chunk_of, chunk_segment
from phi4audio_cli.tasks.retry import AMBIGUOUS_DEFECTS, SelectedAnswer
from phi4audio_cli.text.coverage import fill_gaps, total_length, uncovered_seconds
from phi4audio_cli.text.merge import merge_words
from phi4audio_cli.text.words import Interval, interpolate_times
from phi4audio_cli.types import Chunk, Generation, Segment, Word


def drop_duplicates(segments: Sequence[Segment], chunks: Sequence[Chunk]) -> list[Segment]:
    """Drop what neighbouring segments say twice.

    Args:
        segments: Of one speaker, in order.
        chunks: The chunk of each.

    Returns:
        As many segments, which share nothing and follow each other; one that had nothing of its
        own is left without text.
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
    """Return the segment's words; without times of their own, laid over the whole chunk."""
    if segment.words:
        return segment.words
    return interpolate_times(segment.text, [(chunk.start_seconds, chunk.stop_seconds)])


def _replace_words(segment: Segment, words: Sequence[Word], *, keep: bool) -> Segment:
    text = "".join(word.word for word in words).strip()
    if not keep or not words:
        return replace(segment, text=text, words=())
    return replace(segment, text=text, words=tuple(words), start=words[0].start, end=words[-1].end)


SegmentBuilder: TypeAlias = Callable[[int, Generation], Segment]

ChunkSegment: TypeAlias = tuple[Chunk, Segment]
"""A segment and the chunk it was made of."""

TIME_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much speech there is, and how much of it has no text, in seconds."""

    speech: float | None
    """None where nobody listened."""
    uncovered: float


def build_segments(kept: Iterable[SelectedAnswer], make: SegmentBuilder) -> list[ChunkSegment]:
    """Make one segment of each answer that has text of its own, or should have some.

    Args:
        kept: About all chunks, in any order.
        make: Makes a segment of an answer.

    Returns:
        The segments, numbered, in order of time over all speakers, each with its chunk. One
        speaker's segments share nothing; two speakers may talk at once.
    """
    tracks = [_speaker_segments(answers, make) for answers in _group_by_speaker(kept)]
    merged = heapq.merge(*tracks, key=lambda placed: placed[1].start)
    return [(chunk, replace(segment, id=index)) for index, (chunk, segment) in enumerate(merged)]


def measure_coverage(kept: Iterable[SelectedAnswer]) -> Coverage:
    """Measure how much of the speech the answers leave without text."""
    speech = uncovered = 0.0
    listened = True
    for answers in _group_by_speaker(kept):
        chunks = [chunk_of(one.answer) for one in answers]
        listened = listened and any(chunk.speech for chunk in chunks)
        spoken = [stretch for chunk in chunks for stretch in _speech_intervals(chunk)]
        speech += total_length(spoken)
        uncovered += uncovered_seconds(
            spoken, [stretch for one in answers for stretch in _covered_intervals(one)]
        )
    return Coverage(round(speech, TIME_DIGITS) if listened else None, round(uncovered, TIME_DIGITS))


def _group_by_speaker(kept: Iterable[SelectedAnswer]) -> list[list[SelectedAnswer]]:
    """Return each speaker's answers in the order of their chunks."""
    found: dict[str, list[SelectedAnswer]] = {}
    for one in sorted(kept, key=_chunk_order):
        found.setdefault(chunk_of(one.answer).speaker or "", []).append(one)
    return [answers for _, answers in sorted(found.items())]


def _chunk_order(one: SelectedAnswer) -> tuple[int, int]:
    chunk = chunk_of(one.answer)
    return chunk.index, chunk.start


def _speaker_segments(kept: Sequence[SelectedAnswer], make: SegmentBuilder) -> list[ChunkSegment]:
    told = [one for one in kept if one.answer.text]
    chunks = [chunk_of(one.answer) for one in told]
    apart = drop_duplicates([_with_flags(one, make(0, one.answer)) for one in told], chunks)
    placed = [pair for pair in zip(chunks, apart, strict=True) if pair[1].text]
    # What has no text but should have some is a segment, too: it says what is missing.
    missing = [one for one in kept if one.flags and not one.answer.text]
    placed += [
        (chunk_of(one.answer), _with_flags(one, chunk_segment(0, one.answer))) for one in missing
    ]
    return sorted(placed, key=lambda pair: (pair[0].index, pair[0].start))


def _with_flags(one: SelectedAnswer, segment: Segment) -> Segment:
    return replace(segment, flags=one.flags, tried=one.tried)


def _speech_intervals(chunk: Chunk) -> list[Interval]:
    rate = chunk.sample_rate
    return [(span.start / rate, span.stop / rate) for span in chunk.speech]


def _covered_intervals(one: SelectedAnswer) -> Sequence[Interval]:
    """Return the stretches of the recording that an answer's words cover."""
    chunk = chunk_of(one.answer)
    if not one.answer.text or AMBIGUOUS_DEFECTS & set(one.flags):
        return ()
    if not one.answer.words:
        return [(chunk.start_seconds, chunk.stop_seconds)]
    return fill_gaps(
        [(word.start, word.end) for word in one.answer.words], _speech_intervals(chunk)
    )
