"""The whole front end before a simulated device: its speed and its idle time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from phi4audio_cli.audio.reader import InProcessReader, ReadRequest
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.subprocess_reader import ReaderProcesses
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.background import prefetch
from phi4audio_cli.pipeline.backend import ShouldStop, never_stop
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Generation, Job, Request

BATCH = 8


class SimulatedBackend:
    """Answers at the speed of a device of a given RTFx; it sleeps, so the cores are free.

    Args:
        rtfx: Seconds of audio per second; infinite: no delay.
    """

    def __init__(self, rtfx: float) -> None:
        self._rtfx = rtfx
        self.idle_seconds = 0.0
        """Idle seconds after the first chunk."""
        self.seconds = 0.0
        self.began: float | None = None

    def generate(
        self, feed: Iterable[Request | None], stop: ShouldStop = never_stop
    ) -> Iterator[Generation]:
        """Answer each request after its delay; four batches are prefetched."""
        requests = prefetch(feed, 4 * BATCH)
        since = time.perf_counter()
        for request in requests:
            now = time.perf_counter()
            if self.began is None:
                self.began = now
            else:
                self.idle_seconds += now - since
            if request is not None and request.chunk is not None:
                self.seconds += request.chunk.seconds
                time.sleep(request.chunk.seconds / self._rtfx)
                yield Generation(request, filler_text(request.chunk.seconds), (), (), "stop")
            since = time.perf_counter()

    def longest_chunk(self, wanted: float) -> float:
        """Return `wanted`."""
        return wanted


def filler_text(seconds: float) -> str:
    """Return a text without defects, so that no request is retried."""
    return " ".join(f"word{number}" for number in range(int(2 * seconds)))


@dataclass(frozen=True, slots=True)
class FeedResult:
    """The result of feeding a device."""

    rtfx: float
    """Seconds of recordings per second, from the first chunk on."""
    per_core: float
    """Seconds of recordings per second of processor time of all processes."""
    parent_share: float
    """Share of that time in this process, which passes the chunks on."""
    idle: float
    """Share of the time in which the device is idle."""


def feed_device(files: Sequence[Path], seconds: float, readers: int, rtfx: float) -> FeedResult:
    """Read recordings for a device.

    Args:
        files: The recordings.
        seconds: Length of each.
        readers: Recordings read at once.
        rtfx: Of the device; infinite: no delay.
    """
    cut = partial(chunk_speech, detector=SileroDetector())
    with ReaderProcesses(InProcessReader(chunker=cut)) as pool:
        started = pool.get(readers)
        for reader in started:  # their start is not measured
            with reader.read(ReadRequest(files[0], 1.0)):
                pass
        processes = [psutil.Process(reader.pid) for reader in started]
        backend = SimulatedBackend(rtfx)
        before, own_before = sum(map(_cpu_seconds, processes)), time.process_time()
        jobs = [Job(index, path) for index, path in enumerate(files)]
        task = Transcribe()
        list(
            run_pipeline(
                jobs,
                lambda job: task,
                backend,
                chunk_seconds=40,
                source_options=SourceOptions(readers=started),
            )
        )
        assert backend.began
        took = time.perf_counter() - backend.began
        own = time.process_time() - own_before
        used = own + sum(map(_cpu_seconds, processes)) - before
    total = seconds * len(files)
    return FeedResult(total / took, total / used, own / used, backend.idle_seconds / took)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]
