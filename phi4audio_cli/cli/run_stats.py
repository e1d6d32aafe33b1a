"""Statistics of a run: recordings, seconds of audio, speed, time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import Chunk, ChunkDone, Event, FileDone, FileFailed, FileStarted


class RunStats:
    """Sums over the events of the pipeline; finished recordings take no memory.

    Args:
        files: Number of recordings to do.
        now: A clock, in seconds.
    """

    def __init__(self, files: int, now: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self.done = 0
        self.failed = 0
        self.skipped = 0
        """Recordings that an earlier run finished, or that another job processes."""
        self._now = now
        self._started: float | None = None
        self._finished_seconds = 0.0
        self._resumed_seconds = 0.0
        self._chunk_seconds: dict[int, dict[int, float]] = {}
        self._durations: dict[int, float] = {}

    def start_clock(self) -> None:
        """Start the clock, when the model is loaded."""
        self._started = self._now()

    @property
    def clock_started(self) -> bool:
        """Whether the model is loaded, so that batches run."""
        return self._started is not None

    def update(self, event: Event | RunEvent) -> None:
        """Count one event."""
        index = event.job.index
        match event:
            case FileStarted(seconds=seconds):
                if seconds is not None:
                    self._durations[index] = seconds
            case ChunkDone(generation=generation, resumed=recalled):
                if (chunk := generation.request.chunk) is not None:
                    self._add_audio(index, chunk, recalled)
            case FileDone(result=result):
                self._finish(index, result.duration)
            case RecordingWritten(seconds=seconds):
                self._finish(index, seconds)
            case FileFailed():
                self._drop(index)
                self.failed += 1

    def add_skipped(self) -> None:
        """Count a recording that needs nothing done."""
        self.skipped += 1

    def _add_audio(self, index: int, chunk: Chunk, resumed: bool) -> None:
        chunks = self._chunk_seconds.setdefault(index, {})
        seconds = chunk.recording_seconds
        if resumed and chunk.index not in chunks:
            self._resumed_seconds += seconds
        # Several requests may be about one chunk: it counts once.
        chunks[chunk.index] = max(seconds, chunks.get(chunk.index, 0.0))

    def _finish(self, index: int, seconds: float) -> None:
        self._drop(index)
        self._finished_seconds += seconds
        self.done += 1

    def _drop(self, index: int) -> None:
        self._chunk_seconds.pop(index, None)
        self._durations.pop(index, None)

    @property
    def finished(self) -> int:
        """Recordings that are done, failed or skipped."""
        return self.done + self.failed + self.skipped

    @property
    def audio_seconds(self) -> float:
        """Finished seconds of audio."""
        return self._finished_seconds + sum(map(self.seconds_done, self._chunk_seconds))

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since `start_clock`."""
        return 0.0 if self._started is None else self._now() - self._started

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio per second of the run; None before the first.

        Audio of an earlier run does not count.
        """
        audio = self.audio_seconds - self._resumed_seconds
        return audio / self.elapsed_seconds if audio > 0 and self.elapsed_seconds else None

    @property
    def total_audio_seconds(self) -> float | None:
        """Seconds of audio in total, unopened recordings at the mean length; None if unknown."""
        measured = self.done + len(self._durations)
        if not measured:
            return None
        known = self._finished_seconds + sum(self._durations.values())
        others = self.files - self.failed - self.skipped - measured
        return max(known + others * known / measured, self.audio_seconds)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None if unknown."""
        total, speed = self.total_audio_seconds, self.rtfx
        return (total - self.audio_seconds) / speed if total is not None and speed else None

    def seconds_done(self, index: int) -> float:
        """Return the finished seconds of a recording in progress."""
        return sum(self._chunk_seconds.get(index, {}).values())

    def duration_of(self, index: int) -> float | None:
        """Return the length of a recording in progress in seconds; None if unknown."""
        return self._durations.get(index)
