"""Pack speech into chunks within the model's limit; audio without speech is left out.

Pure and streaming: the same samples give the same chunks, however they are divided into blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from phi4audio_cli.audio.energy_chunking import quietest_point
from phi4audio_cli.audio.vad import Detector, Probabilities, SpeechMask, SpeechSegmenter
from phi4audio_cli.types import Chunk, Samples, Span

LONG_PAUSE_SECONDS = 2.0
"""A pause this long is not sent to the model: the chunk ends before it."""

OVERLAP_SECONDS = 5.0
"""How much two chunks share, at most, where there is no pause to cut in."""

MIN_LIMIT_SECONDS = 1.0
"""What is left of the pauses and the overlap below this is too little, seconds."""


@dataclass(frozen=True, slots=True)
class _ChunkLimits:
    """Lengths, all in samples. Small limits make everything small."""

    sample_rate: int
    limit: int
    gap: int
    overlap: int

    @classmethod
    def from_seconds(cls, sample_rate: int, limit_seconds: float) -> _ChunkLimits:
        share = limit_seconds / 8
        return cls(
            sample_rate,
            limit=int(limit_seconds * sample_rate),
            gap=int(min(LONG_PAUSE_SECONDS, share) * sample_rate),
            overlap=int(min(OVERLAP_SECONDS, share) * sample_rate),
        )

    @property
    def padding(self) -> int:
        """Heard before and after speech: soft sounds begin before the detector says so."""
        return self.gap // 8

    @property
    def min_length(self) -> int:
        """A word alone is sent with some silence around it."""
        return self.gap // 2

    @property
    def lookahead(self) -> int:
        """So much must be known from a chunk's start on to decide where it stops."""
        return self.limit + self.limit // 3 + self.gap + 2 * self.padding


@dataclass(frozen=True, slots=True)
class _ChunkBounds:
    """A chunk's first sample, the first one after it, and the first the next may have."""

    start: int
    stop: int
    next_start: int


def chunk_speech(
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
    if limit_seconds < MIN_LIMIT_SECONDS:
        raise ValueError(f"a limit of {limit_seconds} s is below {MIN_LIMIT_SECONDS} s")
    rules = _ChunkLimits.from_seconds(sample_rate, limit_seconds)
    tape = RollingBuffer(detector.window_length(sample_rate))
    for index, cut in enumerate(_all_bounds(detector.detect(blocks, sample_rate), tape, rules)):
        samples = tape.samples(cut.start, cut.stop)
        yield Chunk(index, samples, sample_rate, cut.start, tuple(tape.speech(cut.start, cut.stop)))


def _all_bounds(
    detected: Iterable[tuple[Samples, Probabilities]], buffer: RollingBuffer, limits: _ChunkLimits
) -> Iterator[_ChunkBounds]:
    floor = 0
    for samples, probabilities in detected:
        buffer.append(samples, probabilities)
        while cut := _next_bounds(buffer, floor, limits):
            yield cut
            floor = cut.next_start
        buffer.drop_before(_earliest_start(buffer, floor, limits) - limits.min_length)
    buffer.finish()
    while cut := _next_bounds(buffer, floor, limits):
        yield cut
        floor = cut.next_start


def _earliest_start(buffer: RollingBuffer, min_start: int, limits: _ChunkLimits) -> int:
    """Return where the next chunk starts, or could start at the earliest."""
    first = buffer.first_speech(min_start)
    return max(min_start, (buffer.decided_until if first is None else first) - limits.padding)


def _next_bounds(
    buffer: RollingBuffer, min_start: int, limits: _ChunkLimits
) -> _ChunkBounds | None:
    """Decide the next chunk; None while too little is known, or when no speech is left."""
    start = _earliest_start(buffer, min_start, limits)
    # Never more is looked at than this, even when it is there: any blocks give the same cuts.
    end = start + limits.lookahead
    if buffer.first_speech(min_start) is None or (
        buffer.decided_until < end and not buffer.finished
    ):
        return None
    heard = list(buffer.speech(start, min(buffer.decided_until, end)))
    spans = _before_long_pause(heard, limits.gap)
    length = spans[-1].stop - start
    closed = (
        buffer.decided_until < end or len(spans) < len(heard) or end - spans[-1].stop >= limits.gap
    )
    if closed and length <= limits.limit:
        return _bounds_of_group(buffer, Span(start, spans[-1].stop), min_start, limits)
    third = limits.limit // 3
    last = start + limits.limit
    if closed and length <= limits.limit + third:
        last = start + length // 2 + third // 2
    return _cut_at_pause(buffer, start, Span(last - third, last), spans, limits)


def _before_long_pause(spans: list[Span], gap: int) -> list[Span]:
    """Return the spans before the first long pause."""
    for index, (span, following) in enumerate(pairwise(spans), start=1):
        if following.start - span.stop >= gap:
            return spans[:index]
    return spans


def _bounds_of_group(
    buffer: RollingBuffer, group: Span, min_start: int, limits: _ChunkLimits
) -> _ChunkBounds:
    """Take all of a group of speech, and more of the silence around it if it is very short."""
    stop = min(group.stop + limits.padding, group.start + limits.limit)
    missing = max(0, limits.min_length - (stop - group.start))
    start = max(min_start, group.start - missing // 2)
    stop = min(buffer.decided_until, max(stop, start + limits.min_length))
    start = max(min_start, min(start, stop - limits.min_length))
    return _ChunkBounds(start, stop, next_start=stop)


def _cut_at_pause(
    buffer: RollingBuffer, start: int, window: Span, spans: list[Span], limits: _ChunkLimits
) -> _ChunkBounds:
    """Cut in the longest pause that is in `window`; overlap where there is none."""
    pauses = (
        Span(max(left.stop, window.start), min(right.start, window.stop))
        for left, right in pairwise(spans)
    )
    pause = max(pauses, key=lambda each: each.stop - each.start, default=None)
    if pause is None or pause.stop <= pause.start:
        return _cut_with_overlap(buffer, start, window, limits)
    stop = (pause.start + pause.stop) // 2
    spoken = max(span.stop for span in spans if span.start < stop)
    stop = min(stop, spoken + limits.padding)
    return _ChunkBounds(start, stop, next_start=stop)


def _cut_with_overlap(
    buffer: RollingBuffer, start: int, window: Span, limits: _ChunkLimits
) -> _ChunkBounds:
    """Stop late in `window`, and let the next chunk start before, both at quiet places."""
    half = limits.overlap // 2
    stop = _quietest_in(buffer, Span(window.stop - half, window.stop), limits)
    floor = _quietest_in(buffer, Span(stop - limits.overlap, stop - half), limits)
    return _ChunkBounds(start, stop, floor)


def _quietest_in(buffer: RollingBuffer, window: Span, limits: _ChunkLimits) -> int:
    samples = buffer.samples(window.start, window.stop)
    return window.start + quietest_point(samples, limits.sample_rate, 0, len(samples))


class RollingBuffer:
    """Samples and marks of speech, by their place in the recording.

    Args:
        window: Samples for each mark.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._offset = 0
        """Place of the first sample held; a multiple of the window."""
        self._samples: Samples = np.empty(0, np.float32)
        self._speech_mask: SpeechMask = np.empty(0, np.bool_)
        self._segmenter = SpeechSegmenter()
        self.finished = False

    @property
    def decided_until(self) -> int:
        """All before this place is known, and marked as speech or not."""
        return self._offset + min(len(self._samples), len(self._speech_mask) * self._window)

    def append(self, samples: Samples, probabilities: Probabilities) -> None:
        """Add samples, in whole windows but at the recording's end, and what is heard in each."""
        self._samples = np.concatenate([self._samples, samples])
        self._speech_mask = np.concatenate([self._speech_mask, self._segmenter.push(probabilities)])

    def finish(self) -> None:
        """Nothing more comes."""
        self._speech_mask = np.concatenate([self._speech_mask, self._segmenter.finish()])
        self.finished = True

    def drop_before(self, position: int) -> None:
        """Drop what lies before a place."""
        windows = max(0, position - self._offset) // self._window
        self._speech_mask = self._speech_mask[windows:]
        self._samples = self._samples[windows * self._window :]
        self._offset += windows * self._window

    def samples(self, start: int, stop: int) -> Samples:
        """Return a copy of some of the samples held."""
        return self._samples[start - self._offset : stop - self._offset].copy()

    def first_speech(self, position: int) -> int | None:
        """Return the first place of speech from `position` on, as far as it is known."""
        return next((span.start for span in self.speech(position, self.decided_until)), None)

    def speech(self, start: int, stop: int) -> Iterator[Span]:
        """Yield the stretches of speech between two places, cut off at these."""
        low = max(0, start - self._offset) // self._window
        marks = self._speech_mask[low : -((self._offset - stop) // self._window)]
        edges = np.flatnonzero(np.diff(marks.astype(np.int8), prepend=0, append=0))
        places = (edges + low) * self._window + self._offset
        for first, last in places.reshape(-1, 2).tolist():
            if (begin := max(first, start)) < (end := min(last, stop)):
                yield Span(begin, end)
