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
    """Answers some words, as slowly as a device of some RTFx: it sleeps, so the cores are free.

    Args:
        rtfx: Seconds of audio a second; infinite: it takes no time.
    """

    def __init__(self, rtfx: float) -> None:
        self._rtfx = rtfx
        self.idle_seconds = 0.0
        """Seconds in which it had nothing to do, the time until the first chunk not counted."""
        self.seconds = 0.0
        self.began: float | None = None

    def generate(
        self, feed: Iterable[Request | None], stop: ShouldStop = never_stop
    ) -> Iterator[Generation]:
        """Answer each request when its time is over; as many are prepared ahead as fill batches."""
        asked = prefetch(feed, 4 * BATCH)
        since = time.perf_counter()
        for request in asked:
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
    """Return a text that nobody would doubt, so that nothing is asked again."""
    return " ".join(f"word{number}" for number in range(int(2 * seconds)))


@dataclass(frozen=True, slots=True)
class FeedResult:
    """What came of feeding a device."""

    rtfx: float
    """Seconds of recordings a second, from the first chunk on."""
    per_core: float
    """Seconds of recordings a second of processor time, of all processes."""
    ours: float
    """Share of that time in this process, which hands the chunks on."""
    idle: float
    """Share of the time in which the device waited."""


def feed_device(files: Sequence[Path], seconds: float, readers: int, rtfx: float) -> FeedResult:
    """Read recordings, each of some seconds, for a device.

    Args:
        files: Read one after the other, or side by side.
        seconds: Length of each.
        readers: How many at once.
        rtfx: Of the device; infinite: it takes no time.
    """
    cut = partial(chunk_speech, detector=SileroDetector())
    with ReaderProcesses(InProcessReader(chunker=cut)) as pool:
        some = pool.get(readers)
        for reader in some:  # their start is not what is measured
            with reader.read(ReadRequest(files[0], 1.0)):
                pass
        processes = [psutil.Process(reader.pid) for reader in some]
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
                source_options=SourceOptions(readers=some),
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
    """Return how many processes want a core, by the system's average of a minute."""
    return os.getloadavg()[0]
