"""Pack speech into chunks the model can take; what holds no speech is left out.

Pure and streaming: the same samples give the same chunks, however they were divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from phi4audio_cli.audio.chunking import quietest
from phi4audio_cli.audio.tape import Tape
from phi4audio_cli.audio.vad import Detector, Probabilities
from phi4audio_cli.types import Chunk, Samples, Span

GAP_SECONDS = 2.0
"""A pause this long is not sent to the model: the chunk ends before it."""

OVERLAP_SECONDS = 5.0
"""How much two chunks share, at most, where there is no pause to cut in."""

SHORTEST_LIMIT = 1.0
"""What is left of the pauses and the overlap below this is too little, seconds."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Lengths, all in samples. Small limits make everything small."""

    sample_rate: int
    limit: int
    gap: int
    overlap: int

    @classmethod
    def of(cls, sample_rate: int, limit_seconds: float) -> _Rules:
        share = limit_seconds / 8
        return cls(
            sample_rate,
            limit=int(limit_seconds * sample_rate),
            gap=int(min(GAP_SECONDS, share) * sample_rate),
            overlap=int(min(OVERLAP_SECONDS, share) * sample_rate),
        )

    @property
    def pad(self) -> int:
        """Heard before and after speech: soft sounds begin before the detector says so."""
        return self.gap // 8

    @property
    def shortest(self) -> int:
        """A word alone is sent with some silence around it."""
        return self.gap // 2

    @property
    def horizon(self) -> int:
        """So much must be known from a chunk's start on to decide where it stops."""
        return self.limit + self.limit // 3 + self.gap + 2 * self.pad


@dataclass(frozen=True, slots=True)
class _Cut:
    """A chunk's first sample, the first one after it, and the first the next may have."""

    start: int
    stop: int
    floor: int


def cut_speech(
    blocks: Iterable[Samples], sample_rate: int, limit_seconds: float, detector: Detector
) -> Iterator[Chunk]:
    """Cut a recording into chunks that hold all of its speech, and no long pause.

    A chunk that would be longer than the limit stops in the longest pause of its last third; near
    the middle where the rest would be a crumb otherwise. Where nobody pauses there, chunks
    overlap: the next one starts before the last one stops.

    Args:
        blocks: Mono float32, any lengths; read only as far as the next cut needs.
        sample_rate: Of the blocks, Hz.
        limit_seconds: Longest chunk.
        detector: Tells speech from all else.

    Yields:
        Chunks with `speech` set; none where nobody speaks.

    Raises:
        ValueError: A limit under 1 s.
    """
    if limit_seconds < SHORTEST_LIMIT:
        raise ValueError(f"a limit of {limit_seconds} s is below {SHORTEST_LIMIT} s")
    rules = _Rules.of(sample_rate, limit_seconds)
    tape = Tape(detector.window(sample_rate))
    for index, cut in enumerate(_cuts(detector.listen(blocks, sample_rate), tape, rules)):
        samples = tape.samples(cut.start, cut.stop)
        yield Chunk(index, samples, sample_rate, cut.start, tuple(tape.speech(cut.start, cut.stop)))


def _cuts(
    heard: Iterable[tuple[Samples, Probabilities]], tape: Tape, rules: _Rules
) -> Iterator[_Cut]:
    floor = 0
    for samples, probabilities in heard:
        tape.append(samples, probabilities)
        while cut := _next_cut(tape, floor, rules):
            yield cut
            floor = cut.floor
        tape.forget(_start(tape, floor, rules) - rules.shortest)
    tape.end()
    while cut := _next_cut(tape, floor, rules):
        yield cut
        floor = cut.floor


def _start(tape: Tape, floor: int, rules: _Rules) -> int:
    """Return where the next chunk starts, or could start at the earliest."""
    first = tape.first_speech(floor)
    return max(floor, (tape.known if first is None else first) - rules.pad)


def _next_cut(tape: Tape, floor: int, rules: _Rules) -> _Cut | None:
    """Decide the next chunk; None while too little is known, or when no speech is left."""
    start = _start(tape, floor, rules)
    # Never more is looked at than this, even when it is there: any blocks give the same cuts.
    end = start + rules.horizon
    if tape.first_speech(floor) is None or (tape.known < end and not tape.ended):
        return None
    heard = list(tape.speech(start, min(tape.known, end)))
    spans = _group(heard, rules.gap)
    length = spans[-1].stop - start
    closed = tape.known < end or len(spans) < len(heard) or end - spans[-1].stop >= rules.gap
    if closed and length <= rules.limit:
        return _whole(tape, Span(start, spans[-1].stop), floor, rules)
    third = rules.limit // 3
    last = start + rules.limit
    if closed and length <= rules.limit + third:
        last = start + length // 2 + third // 2
    return _split(tape, start, Span(last - third, last), spans, rules)


def _group(spans: list[Span], gap: int) -> list[Span]:
    """Return the spans before the first long pause."""
    for index, (span, following) in enumerate(pairwise(spans), start=1):
        if following.start - span.stop >= gap:
            return spans[:index]
    return spans


def _whole(tape: Tape, group: Span, floor: int, rules: _Rules) -> _Cut:
    """Take all of a group of speech, and more of the silence around it if it is very short."""
    stop = min(group.stop + rules.pad, group.start + rules.limit)
    missing = max(0, rules.shortest - (stop - group.start))
    start = max(floor, group.start - missing // 2)
    stop = min(tape.known, max(stop, start + rules.shortest))
    start = max(floor, min(start, stop - rules.shortest))
    return _Cut(start, stop, floor=stop)


def _split(tape: Tape, start: int, room: Span, spans: list[Span], rules: _Rules) -> _Cut:
    """Cut in the longest pause that is in `room`; overlap where there is none."""
    pauses = (
        Span(max(left.stop, room.start), min(right.start, room.stop))
        for left, right in pairwise(spans)
    )
    pause = max(pauses, key=lambda each: each.stop - each.start, default=None)
    if pause is None or pause.stop <= pause.start:
        return _overlap(tape, start, room, rules)
    stop = (pause.start + pause.stop) // 2
    spoken = max(span.stop for span in spans if span.start < stop)
    stop = min(stop, spoken + rules.pad)
    return _Cut(start, stop, floor=stop)


def _overlap(tape: Tape, start: int, room: Span, rules: _Rules) -> _Cut:
    """Stop late in `room`, and let the next chunk start before, both at quiet places."""
    half = rules.overlap // 2
    stop = _quietest(tape, Span(room.stop - half, room.stop), rules)
    floor = _quietest(tape, Span(stop - rules.overlap, stop - half), rules)
    return _Cut(start, stop, floor)


def _quietest(tape: Tape, room: Span, rules: _Rules) -> int:
    samples = tape.samples(room.start, room.stop)
    return room.start + quietest(samples, rules.sample_rate, 0, len(samples))
