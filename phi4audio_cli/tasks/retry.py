"""Retry a chunk after a defective answer: in halves, then with a repetition penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from phi4audio_cli.audio.energy_chunking import quietest_point
from phi4audio_cli.tasks.chunk_answers import chunk_of, token_budget
from phi4audio_cli.tasks.quality import Assessment
from phi4audio_cli.types import Chunk, Request, Span

REPETITION_PENALTY = 1.1
"""Enough to leave a loop; a larger penalty drops words that a speaker really repeats."""

MIN_SPLIT_SECONDS = 2.0
"""Shorter chunks are not split."""


def retry_requests(assessment: Assessment) -> Sequence[Request]:
    """Return the next attempt at a chunk with a defective answer; none after the last attempt.

    Args:
        assessment: Of an answer whose chunk still has its samples.
    """
    request, chunk = assessment.answer.request, chunk_of(assessment.answer)
    if request.attempt == "first" and assessment.suspected:
        return _half_requests(request, chunk) or _penalty_requests(assessment)
    if request.attempt == "halves":
        return _penalty_requests(assessment)
    return ()


def split_chunk(chunk: Chunk) -> tuple[Chunk, Chunk] | None:
    """Split a chunk in the longest pause of its middle third, or at the quietest place there.

    Returns:
        Two chunks with the index and the speaker of the chunk, and together all its samples; None
        if the chunk is too short.
    """
    if chunk.seconds < MIN_SPLIT_SECONDS:
        return None
    cut = _split_point(chunk)
    left = replace(
        chunk,
        samples=chunk.samples[:cut],
        speech=_speech_between(chunk, chunk.start, chunk.start + cut),
    )
    right = replace(
        chunk,
        samples=chunk.samples[cut:],
        start=chunk.start + cut,
        speech=_speech_between(chunk, chunk.start + cut, chunk.stop),
    )
    return left, right


def _half_requests(request: Request, chunk: Chunk) -> Sequence[Request]:
    return [
        replace(request, chunk=half, max_new_tokens=token_budget(half), attempt="halves")
        for half in split_chunk(chunk) or ()
    ]


def _penalty_requests(assessment: Assessment) -> Sequence[Request]:
    answer = assessment.answer
    # An empty answer would stay the same: it has no tokens to penalize.
    if not answer.text or not assessment.confirmed:
        return ()
    return [replace(answer.request, repetition_penalty=REPETITION_PENALTY, attempt="penalty")]


def _split_point(chunk: Chunk) -> int:
    """Return the best place for a cut, in samples from the chunk's start."""
    count = len(chunk.samples)
    low, high = count // 3, 2 * count // 3
    pauses = (
        Span(max(left.stop - chunk.start, low), min(right.start - chunk.start, high))
        for left, right in pairwise(chunk.speech)
    )
    longest = max(pauses, key=lambda pause: pause.stop - pause.start, default=None)
    if longest is not None and longest.start < longest.stop:
        return (longest.start + longest.stop) // 2
    return quietest_point(chunk.samples, chunk.sample_rate, low, high)


def _speech_between(chunk: Chunk, start: int, stop: int) -> tuple[Span, ...]:
    """Return the chunk's speech between two positions in the recording, in samples."""
    parts = (Span(max(span.start, start), min(span.stop, stop)) for span in chunk.speech)
    return tuple(part for part in parts if part.start < part.stop)
