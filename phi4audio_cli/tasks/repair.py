"""Asking again about a chunk whose answer is doubtful: in two halves, then with a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from phi4audio_cli.audio.chunking import quietest
from phi4audio_cli.tasks.doubts import problems, suspicions
from phi4audio_cli.tasks.pieces import heard, speech_budget
from phi4audio_cli.types import Chunk, Generation, Request, Span

PENALTY = 1.1
"""Enough to leave a loop; with more, words that are really said twice get lost."""

SHORTEST_SECONDS = 2.0
"""A shorter chunk isn't cut."""


def ask_again(answer: Generation, language: str | None) -> Sequence[Request]:
    """Return what to ask about a doubtful answer's chunk; nothing where all was tried.

    Args:
        answer: With the samples of its chunk.
        language: English name of the language it must be in; None: any the model hears.
    """
    request, chunk = answer.request, heard(answer)
    if request.attempt == "first" and suspicions(answer, language):
        return _in_halves(request, chunk) or _penalised(answer, language)
    if request.attempt == "halves":
        return _penalised(answer, language)
    return ()


def halve(chunk: Chunk) -> tuple[Chunk, Chunk] | None:
    """Cut a chunk in two, in the longest pause of its middle third, or where that is quietest.

    Returns:
        Two chunks with the index, the speaker and together the samples of the one; None where it
        is too short.
    """
    if chunk.seconds < SHORTEST_SECONDS:
        return None
    cut = _cut(chunk)
    left = replace(
        chunk, samples=chunk.samples[:cut], speech=_within(chunk, chunk.start, chunk.start + cut)
    )
    right = replace(
        chunk,
        samples=chunk.samples[cut:],
        start=chunk.start + cut,
        speech=_within(chunk, chunk.start + cut, chunk.stop),
    )
    return left, right


def _in_halves(request: Request, chunk: Chunk) -> Sequence[Request]:
    return [
        replace(request, chunk=half, max_new_tokens=speech_budget(half), attempt="halves")
        for half in halve(chunk) or ()
    ]


def _penalised(answer: Generation, language: str | None) -> Sequence[Request]:
    # Without words there is nothing to penalise: the answer would be the same.
    if not answer.text or not problems(answer, language):
        return ()
    return [replace(answer.request, repetition_penalty=PENALTY, attempt="penalty")]


def _cut(chunk: Chunk) -> int:
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
    return quietest(chunk.samples, chunk.sample_rate, low, high)


def _within(chunk: Chunk, start: int, stop: int) -> tuple[Span, ...]:
    """Return the chunk's speech between two places of the recording."""
    parts = (Span(max(span.start, start), min(span.stop, stop)) for span in chunk.speech)
    return tuple(part for part in parts if part.start < part.stop)
