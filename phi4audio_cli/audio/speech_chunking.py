"""Split a recording into chunks of speech within the model's limit; long pauses are left out.

Pure and streaming: the chunks depend on the samples alone, not on their division into blocks.
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
"""Shortest pause that ends a chunk and is left out, seconds."""

OVERLAP_SECONDS = 5.0
"""Longest overlap of two chunks, where no pause exists to cut in, seconds."""

MIN_LIMIT_SECONDS = 1.0
"""Shortest limit: below it the pauses and the overlap, which shrink with it, are too short,
seconds."""


@dataclass(frozen=True, slots=True)
class _ChunkLimits:
    """Lengths in samples; all of them shrink with small limits."""

    sample_rate: int
    limit: int
    long_pause: int
    overlap: int

    @classmethod
    def from_seconds(cls, sample_rate: int, limit_seconds: float) -> _ChunkLimits:
        share = limit_seconds / 8
        return cls(
            sample_rate,
            limit=int(limit_seconds * sample_rate),
            long_pause=int(min(LONG_PAUSE_SECONDS, share) * sample_rate),
            overlap=int(min(OVERLAP_SECONDS, share) * sample_rate),
        )

    @property
    def padding(self) -> int:
        """Audio kept around speech: soft sounds begin before the detector reacts."""
        return self.long_pause // 8

    @property
    def min_length(self) -> int:
        """Shortest chunk: silence around it is added to a single word."""
        return self.long_pause // 2

    @property
    def lookahead(self) -> int:
        """Audio from a chunk's start on that must be known to decide its end."""
        return self.limit + self.limit // 3 + self.long_pause + 2 * self.padding


@dataclass(frozen=True, slots=True)
class _ChunkBounds:
    """A chunk's first sample, the first one after it, and the earliest start of the next chunk."""

    start: int
    stop: int
    next_start: int


def chunk_speech(
    blocks: Iterable[Samples], sample_rate: int, limit_seconds: float, detector: Detector
) -> Iterator[Chunk]:
    """Split a recording into chunks with all of its speech and without long pauses.

    A chunk that would exceed the limit ends in the longest pause of its last third, or near the
    middle if the rest would be too short otherwise. Without a pause there, chunks overlap: the
    next one starts before this one ends.

    Args:
        blocks: Mono float32 of any lengths; read only as far as the next cut needs.
        sample_rate: Sample rate of the blocks, Hz.
        limit_seconds: Length of the longest chunk, seconds.
        detector: Voice activity detector.

    Yields:
        Chunks with `speech` set; none without speech.

    Raises:
        ValueError: The limit is below 1 s.
    """
    if limit_seconds < MIN_LIMIT_SECONDS:
        raise ValueError(f"a limit of {limit_seconds} s is below {MIN_LIMIT_SECONDS} s")
    limits = _ChunkLimits.from_seconds(sample_rate, limit_seconds)
    buffer = RollingBuffer(detector.window_length(sample_rate))
    detected = detector.detect(blocks, sample_rate)
    for index, bounds in enumerate(_all_bounds(detected, buffer, limits)):
        samples = buffer.samples(bounds.start, bounds.stop)
        speech = tuple(buffer.speech(bounds.start, bounds.stop))
        yield Chunk(index, samples, sample_rate, bounds.start, speech)


def _all_bounds(
    detected: Iterable[tuple[Samples, Probabilities]], buffer: RollingBuffer, limits: _ChunkLimits
) -> Iterator[_ChunkBounds]:
    min_start = 0
    for samples, probabilities in detected:
        buffer.append(samples, probabilities)
        while bounds := _next_bounds(buffer, min_start, limits):
            yield bounds
            min_start = bounds.next_start
        buffer.drop_before(_earliest_start(buffer, min_start, limits) - limits.min_length)
    buffer.finish()
    while bounds := _next_bounds(buffer, min_start, limits):
        yield bounds
        min_start = bounds.next_start


def _earliest_start(buffer: RollingBuffer, min_start: int, limits: _ChunkLimits) -> int:
    """Return the start of the next chunk, or the earliest possible one while it is unknown."""
    first = buffer.first_speech(min_start)
    return max(min_start, (buffer.decided_until if first is None else first) - limits.padding)


def _next_bounds(
    buffer: RollingBuffer, min_start: int, limits: _ChunkLimits
) -> _ChunkBounds | None:
    """Decide the next chunk; None while too little audio is known, or without further speech."""
    start = _earliest_start(buffer, min_start, limits)
    # Later audio is ignored even when it is known, so that the blocks do not matter.
    end = start + limits.lookahead
    if buffer.first_speech(min_start) is None or (
        buffer.decided_until < end and not buffer.finished
    ):
        return None
    all_spans = list(buffer.speech(start, min(buffer.decided_until, end)))
    spans = _before_long_pause(all_spans, limits.long_pause)
    length = spans[-1].stop - start
    is_complete = (
        buffer.decided_until < end
        or len(spans) < len(all_spans)
        or end - spans[-1].stop >= limits.long_pause
    )
    if is_complete and length <= limits.limit:
        return _bounds_of_group(buffer, Span(start, spans[-1].stop), min_start, limits)
    third = limits.limit // 3
    last = start + limits.limit
    if is_complete and length <= limits.limit + third:
        last = start + length // 2 + third // 2
    return _cut_at_pause(buffer, start, Span(last - third, last), spans, limits)


def _before_long_pause(spans: list[Span], long_pause: int) -> list[Span]:
    """Return the spans before the first long pause."""
    for index, (span, following) in enumerate(pairwise(spans), start=1):
        if following.start - span.stop >= long_pause:
            return spans[:index]
    return spans


def _bounds_of_group(
    buffer: RollingBuffer, group: Span, min_start: int, limits: _ChunkLimits
) -> _ChunkBounds:
    """Return a group of speech as a chunk, with more silence around it if it is very short."""
    stop = min(group.stop + limits.padding, group.start + limits.limit)
    missing = max(0, limits.min_length - (stop - group.start))
    start = max(min_start, group.start - missing // 2)
    stop = min(buffer.decided_until, max(stop, start + limits.min_length))
    start = max(min_start, min(start, stop - limits.min_length))
    return _ChunkBounds(start, stop, next_start=stop)


def _cut_at_pause(
    buffer: RollingBuffer, start: int, window: Span, spans: list[Span], limits: _ChunkLimits
) -> _ChunkBounds:
    """Cut in the longest pause within `window`; overlap without one."""
    pauses = (
        Span(max(left.stop, window.start), min(right.start, window.stop))
        for left, right in pairwise(spans)
    )
    pause = max(pauses, key=lambda each: each.stop - each.start, default=None)
    if pause is None or pause.stop <= pause.start:
        return _cut_with_overlap(buffer, start, window, limits)
    stop = (pause.start + pause.stop) // 2
    speech_end = max(span.stop for span in spans if span.start < stop)
    stop = min(stop, speech_end + limits.padding)
    return _ChunkBounds(start, stop, next_start=stop)


def _cut_with_overlap(
    buffer: RollingBuffer, start: int, window: Span, limits: _ChunkLimits
) -> _ChunkBounds:
    """End late in `window`, and start the next chunk before that, both at quiet points."""
    half = limits.overlap // 2
    stop = _quietest_in(buffer, Span(window.stop - half, window.stop), limits)
    next_start = _quietest_in(buffer, Span(stop - limits.overlap, stop - half), limits)
    return _ChunkBounds(start, stop, next_start)


def _quietest_in(buffer: RollingBuffer, window: Span, limits: _ChunkLimits) -> int:
    samples = buffer.samples(window.start, window.stop)
    return window.start + quietest_point(samples, limits.sample_rate, 0, len(samples))


class RollingBuffer:
    """Recent samples and their speech mask, addressed by position in the recording.

    Args:
        window: Samples per value of the mask.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._offset = 0
        """Position of the first sample in the buffer; a multiple of the window."""
        self._samples: Samples = np.empty(0, np.float32)
        self._speech_mask: SpeechMask = np.empty(0, np.bool_)
        self._segmenter = SpeechSegmenter()
        self.finished = False

    @property
    def decided_until(self) -> int:
        """Position before which all samples are known and decided as speech or not."""
        return self._offset + min(len(self._samples), len(self._speech_mask) * self._window)

    def append(self, samples: Samples, probabilities: Probabilities) -> None:
        """Add whole windows, the recording's last one excepted, and their speech probabilities."""
        self._samples = np.concatenate([self._samples, samples])
        self._speech_mask = np.concatenate([self._speech_mask, self._segmenter.push(probabilities)])

    def finish(self) -> None:
        """Decide the rest: the recording has ended."""
        self._speech_mask = np.concatenate([self._speech_mask, self._segmenter.finish()])
        self.finished = True

    def drop_before(self, position: int) -> None:
        """Drop the whole windows before a position."""
        windows = max(0, position - self._offset) // self._window
        self._speech_mask = self._speech_mask[windows:]
        self._samples = self._samples[windows * self._window :]
        self._offset += windows * self._window

    def samples(self, start: int, stop: int) -> Samples:
        """Return a copy of the samples between two positions."""
        return self._samples[start - self._offset : stop - self._offset].copy()

    def first_speech(self, position: int) -> int | None:
        """Return the first known position of speech from `position` on."""
        return next((span.start for span in self.speech(position, self.decided_until)), None)

    def speech(self, start: int, stop: int) -> Iterator[Span]:
        """Yield the spans of speech between two positions, clipped to these."""
        low = max(0, start - self._offset) // self._window
        mask = self._speech_mask[low : -((self._offset - stop) // self._window)]
        edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
        positions = (edges + low) * self._window + self._offset
        for first, last in positions.reshape(-1, 2).tolist():
            if (clipped_start := max(first, start)) < (clipped_stop := min(last, stop)):
                yield Span(clipped_start, clipped_stop)
