"""Counts of a run: recordings, seconds of audio, speed, time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.types import Chunk, ChunkDone, Event, FileDone, FileFailed, FileStarted


class Tally:
    """Adds up the engine's events; keeps nothing of a recording that is done.

    Args:
        files: Number of recordings to do.
        now: A clock, in seconds.
    """

    def __init__(self, files: int, now: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self.done = 0
        self.failed = 0
        self.skipped = 0
        """Recordings that were done before, or are left to another job."""
        self._now = now
        self._began: float | None = None
        self._done_audio = 0.0
        self._recalled = 0.0
        self._heard: dict[int, dict[int, float]] = {}
        self._lengths: dict[int, float] = {}

    def begin(self) -> None:
        """Start the clock: what comes before (loading a model) is not speed."""
        self._began = self._now()

    def take(self, event: Event | Told) -> None:
        """Count one event."""
        index = event.job.index
        match event:
            case FileStarted(seconds=seconds):
                if seconds is not None:
                    self._lengths[index] = seconds
            case ChunkDone(generation=generation, recalled=recalled):
                if (chunk := generation.request.chunk) is not None:
                    self._hear(index, chunk, recalled)
            case FileDone(result=result):
                self._finish(index, result.duration)
            case Filed(seconds=seconds):
                self._finish(index, seconds)
            case FileFailed():
                self._forget(index)
                self.failed += 1

    def skip(self) -> None:
        """Count a recording that needs nothing done."""
        self.skipped += 1

    def _hear(self, index: int, chunk: Chunk, recalled: bool) -> None:
        heard = self._heard.setdefault(index, {})
        # Of two channels, each is half of the recording.
        seconds = chunk.seconds / 2 if chunk.speaker else chunk.seconds
        if recalled and chunk.index not in heard:
            self._recalled += seconds
        # Several requests may be about one chunk: it counts once.
        heard[chunk.index] = max(seconds, heard.get(chunk.index, 0.0))

    def _finish(self, index: int, seconds: float) -> None:
        self._forget(index)
        self._done_audio += seconds
        self.done += 1

    def _forget(self, index: int) -> None:
        self._heard.pop(index, None)
        self._lengths.pop(index, None)

    @property
    def finished(self) -> int:
        """Recordings that need nothing more."""
        return self.done + self.failed + self.skipped

    @property
    def audio(self) -> float:
        """Seconds of audio that are done."""
        return self._done_audio + sum(map(self.heard, self._heard))

    @property
    def elapsed(self) -> float:
        """Seconds since `begin`."""
        return 0.0 if self._began is None else self._now() - self._began

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio done in a second; None before there is any.

        What an earlier run did is not this one's speed.
        """
        audio = self.audio - self._recalled
        return audio / self.elapsed if audio > 0 and self.elapsed else None

    @property
    def total_audio(self) -> float | None:
        """Seconds of audio in all, recordings not opened yet taken as average; None: no idea."""
        measured = self.done + len(self._lengths)
        if not measured:
            return None
        known = self._done_audio + sum(self._lengths.values())
        others = self.files - self.failed - self.skipped - measured
        return max(known + others * known / measured, self.audio)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None while that can't be told."""
        total, speed = self.total_audio, self.rtfx
        return (total - self.audio) / speed if total is not None and speed else None

    def heard(self, index: int) -> float:
        """Return the seconds that are done of a recording under way."""
        return sum(self._heard.get(index, {}).values())

    def length(self, index: int) -> float | None:
        """Return the length of a recording under way in seconds, if it is known."""
        return self._lengths.get(index)
