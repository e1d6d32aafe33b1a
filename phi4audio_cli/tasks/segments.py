"""From the answers that are kept to segments in the order of time, and what speech they cover."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli.tasks.attempts import SPOKEN_FOR_ITSELF, Kept
from phi4audio_cli.tasks.overlaps import set_apart
from phi4audio_cli.tasks.pieces import chunk_segment, heard
from phi4audio_cli.text.coverage import bridged, length, uncovered_seconds
from phi4audio_cli.text.spread import Stretch
from phi4audio_cli.types import Chunk, Generation, Segment

MakeSegment: TypeAlias = Callable[[int, Generation], Segment]

Placed: TypeAlias = tuple[Chunk, Segment]
"""A segment and the chunk it was made of."""

TIME_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much speech there is, and how much of it has no text, in seconds."""

    speech: float | None
    """None where nobody listened."""
    uncovered: float


def place(kept: Iterable[Kept], make: MakeSegment) -> list[Placed]:
    """Make one segment of each answer that has text of its own, or should have some.

    Args:
        kept: About all chunks, in any order.
        make: Makes a segment of an answer.

    Returns:
        The segments, numbered, in order of time over all speakers, each with its chunk. One
        speaker's segments share nothing; two speakers may talk at once.
    """
    tracks = [_track(answers, make) for answers in _by_speaker(kept)]
    merged = heapq.merge(*tracks, key=lambda placed: placed[1].start)
    return [(chunk, replace(segment, id=index)) for index, (chunk, segment) in enumerate(merged)]


def cover(kept: Iterable[Kept]) -> Coverage:
    """Measure how much of the speech the answers leave without text."""
    speech = uncovered = 0.0
    listened = True
    for answers in _by_speaker(kept):
        chunks = [heard(one.answer) for one in answers]
        listened = listened and any(chunk.speech for chunk in chunks)
        spoken = [stretch for chunk in chunks for stretch in _speech(chunk)]
        speech += length(spoken)
        uncovered += uncovered_seconds(
            spoken, [stretch for one in answers for stretch in _covered(one)]
        )
    return Coverage(round(speech, TIME_DIGITS) if listened else None, round(uncovered, TIME_DIGITS))


def _by_speaker(kept: Iterable[Kept]) -> list[list[Kept]]:
    """Return each speaker's answers in the order of their chunks."""
    found: dict[str, list[Kept]] = {}
    for one in sorted(kept, key=_position):
        found.setdefault(heard(one.answer).speaker or "", []).append(one)
    return [answers for _, answers in sorted(found.items())]


def _position(one: Kept) -> tuple[int, int]:
    chunk = heard(one.answer)
    return chunk.index, chunk.start


def _track(kept: Sequence[Kept], make: MakeSegment) -> list[Placed]:
    told = [one for one in kept if one.answer.text]
    chunks = [heard(one.answer) for one in told]
    apart = set_apart([_marked(one, make(0, one.answer)) for one in told], chunks)
    placed = [pair for pair in zip(chunks, apart, strict=True) if pair[1].text]
    # What has no text but should have some is a segment, too: it says what is missing.
    missing = [one for one in kept if one.flags and not one.answer.text]
    placed += [(heard(one.answer), _marked(one, chunk_segment(0, one.answer))) for one in missing]
    return sorted(placed, key=lambda pair: (pair[0].index, pair[0].start))


def _marked(one: Kept, segment: Segment) -> Segment:
    return replace(segment, flags=one.flags, tried=one.tried)


def _speech(chunk: Chunk) -> list[Stretch]:
    rate = chunk.sample_rate
    return [(span.start / rate, span.stop / rate) for span in chunk.speech]


def _covered(one: Kept) -> Sequence[Stretch]:
    """Return the stretches of the recording that an answer's words cover."""
    chunk = heard(one.answer)
    if not one.answer.text or SPOKEN_FOR_ITSELF & set(one.flags):
        return ()
    if not one.answer.words:
        return [(chunk.start_seconds, chunk.stop_seconds)]
    return bridged([(word.start, word.end) for word in one.answer.words], _speech(chunk))
