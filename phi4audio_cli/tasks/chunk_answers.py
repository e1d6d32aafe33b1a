"""Answers about one chunk: token budget, grouping, and the segment with its times."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Chunk, Generation, Segment

ENCODER_WINDOW_SECONDS = 40.0
"""The encoder attends to 40 s at once (500 frames of 80 ms); what is said is best heard so."""

TOKENS_PER_SECOND = 15
"""Far above speech: fast talkers reach about 5 words a second."""

EXTRA_TOKENS = 64

LOGPROB_DIGITS = 3
"""Further digits depend on how requests were batched."""


def token_budget(chunk: Chunk) -> int:
    """Return the most tokens that what is said in a chunk can take."""
    return EXTRA_TOKENS + math.ceil(TOKENS_PER_SECOND * chunk.seconds)


def chunk_of(answer: Generation) -> Chunk:
    """Return the chunk an answer is about.

    Raises:
        ValueError: It is about none.
    """
    chunk = answer.request.chunk
    if chunk is None:
        raise ValueError("an answer about text has no chunk")
    return chunk


def group_by_chunk(answers: Iterable[Generation]) -> list[list[Generation]]:
    """Return the answers about each chunk and its parts, in the order of the chunks."""
    found: dict[int, list[Generation]] = {}
    for answer in answers:
        found.setdefault(chunk_of(answer).index, []).append(answer)
    return [of for _, of in sorted(found.items())]


def rounded_logprob(answer: Generation) -> float | None:
    """Return the answer's mean log-probability without the digits that batching moves."""
    logprob = answer.avg_logprob
    return None if logprob is None else round(logprob, LOGPROB_DIGITS)


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
    """Make a segment of an answer whose words were searched for in the audio.

    Where they were not found, they are laid over the speech.
    """
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
    """Make a segment of an answer; its words lie over the chunk's speech, where that is known.

    A translation's words can't be aligned with sounds that are other words.
    """
    segment = chunk_segment(index, answer)
    chunk = chunk_of(answer)
    rate = chunk.sample_rate
    speech = [(span.start / rate, span.stop / rate) for span in chunk.speech if len(span)]
    if not speech or not segment.text:
        return segment
    words = interpolate_times(segment.text, speech)
    return replace(
        segment, start=words[0].start, end=words[-1].end, words=words, times_from="speech"
    )
