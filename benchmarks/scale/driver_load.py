"""Cost of a recording and of a chunk for the driver, and of a call over Ray."""

from __future__ import annotations

import io
import pickle
import time
from collections import deque
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.run_reporter import ExitPolicy, RunReporter
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.messages import (
    Assignment,
    ModelLoaded,
    PackedMessage,
    Reply,
    WorkerReady,
    WorkerStatus,
    pack,
)
from phi4audio_cli.cluster.work_queue import WorkQueue
from phi4audio_cli.cluster.worker import MAX_QUEUED_JOBS
from phi4audio_cli.cluster.worker_resources import WorkerCount
from phi4audio_cli.jobs.run_report import Report
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import (
    Chunk,
    ChunkDone,
    FileStarted,
    Generation,
    Job,
    Request,
    Span,
    Word,
)

RATE = 16_000
CHUNK_SECONDS = 40.0
WORDS = 100
"""Words in a chunk: 2.5 a second, and 1.3 tokens each."""

CHUNKS_PER_CALL = 8
"""Chunks reported in one call."""


class SilentDisplay(Display):
    """A display without output."""

    def print_line(self, text: str) -> None:
        """Do nothing."""


@dataclass
class EchoPool:
    """Workers that finish at once; their replies are pickled as by Ray.

    Attributes:
        chunks: Of each recording.
        spent: Processor time of the simulated workers in seconds, which the driver doesn't need.
        sent: Bytes of the replies.
    """

    chunks: int
    spent: float = 0.0
    sent: int = 0
    _count: int = 0
    _stopped: set[str] = field(default_factory=set)
    _replies: deque[tuple[str, bytes]] = field(default_factory=deque)

    def start(self) -> str:
        """Start a worker."""
        self._count += 1
        self._put(f"worker {self._count}", WorkerReady("a model", "a machine"))
        self._put(
            f"worker {self._count}",
            WorkerStatus((ModelLoaded(),), MAX_QUEUED_JOBS, idle=False, closed=False),
        )
        return f"worker {self._count}"

    def send(self, worker: str, assignment: Assignment) -> None:
        """Process an assignment."""
        began = time.process_time()
        messages: list[PackedMessage] = [
            pack(event) for job in assignment.jobs for event in recording_events(job, self.chunks)
        ]
        if not messages:
            messages.append(ModelLoaded())
        stopped = worker in self._stopped
        for start in range(0, len(messages), CHUNKS_PER_CALL):
            self._put(
                worker,
                WorkerStatus(
                    tuple(messages[start : start + CHUNKS_PER_CALL]),
                    MAX_QUEUED_JOBS,
                    False,
                    stopped,
                ),
            )
        self.spent += time.process_time() - began

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield all replies."""
        for _ in range(len(self._replies)):
            worker, data = self._replies.popleft()
            yield worker, pickle.loads(data)

    def stop(self, worker: str) -> None:
        """Stop a worker."""
        self._stopped.add(worker)

    def kill(self, worker: str) -> None:
        """End a worker."""

    def _put(self, worker: str, reply: Reply) -> None:
        data = pickle.dumps(reply, protocol=5)
        self.sent += len(data)
        self._replies.append((worker, data))


def recording_events(job: Job, chunks: int) -> Iterator[RunEvent]:
    """Yield the events of a recording."""
    yield FileStarted(job, chunks * CHUNK_SECONDS)
    text = " ".join(f"word{number}" for number in range(WORDS))
    for index in range(chunks):
        samples = np.broadcast_to(np.float32(0), (int(CHUNK_SECONDS * RATE),))
        speech = tuple(Span(n * 80_000, n * 80_000 + 60_000) for n in range(8))
        chunk = Chunk(index, samples, RATE, index * len(samples), speech)
        request = Request(job.index, chunk, "Transcribe the audio clip into text.", 400, align=True)
        tokens = tuple(range(100_000, 100_000 + int(1.3 * WORDS)))
        logprobs = tuple(-0.01 * (number % 7) for number in range(len(tokens)))
        words = tuple(
            Word(each, 0.4 * n, 0.4 * n + 0.3, 0.9) for n, each in enumerate(text.split())
        )
        yield ChunkDone(job, Generation(request, text, tokens, logprobs, "stop", words))
    yield RecordingWritten(job, " ".join([text] * chunks), chunks * CHUNK_SECONDS, (),
                tuple(job.outputs.values()), is_new=True)  # fmt: skip


def make_jobs(count: int) -> list[Job]:
    """Return jobs with outputs in a bucket."""
    out = RemotePath("memory://bucket/out")
    return [
        Job(index, Path(f"recording-{index:08}.flac"),
            {form: out / f"recording-{index:08}.{form}" for form in ("txt", "json", "srt")},
            url=f"memory://archive/box-{index // 1000:05}/recording-{index:08}.flac")
        for index in range(count)
    ]  # fmt: skip


def measure_driver(count: int, chunks: int, workers: int) -> tuple[float, float]:
    """Return the driver's processor time in seconds and the bytes of replies, per recording."""
    jobs = make_jobs(count)
    pool = EchoPool(chunks)
    driver = Driver(WorkQueue(jobs), pool, WorkerCount(workers, workers), lambda: False)
    report = Report(jobs, "transcribe", "demo")
    reporter = RunReporter(SilentDisplay(RunStats(count)), report, ExitPolicy(), CancelToken())
    began = time.process_time()
    with redirect_stdout(io.StringIO()):
        for event in driver.events():
            reporter.handle(event)
    spent = time.process_time() - began - pool.spent
    assert all(each.status == "done" for each in report.entries.values())
    return spent / count, pool.sent / count


def measure_calls(open_calls: int, seconds: float) -> tuple[float, float]:
    """Return calls per second over Ray, and the driver's processor time for each in seconds.

    One process answers for all workers, with `open_calls` open calls.
    """
    import ray

    from phi4audio_cli.cluster.ray_pool import RayPool

    class Answering:
        async def exchange(self, assignment: Assignment) -> WorkerStatus:
            return WorkerStatus((), MAX_QUEUED_JOBS, idle=False, closed=False)

    actor: Any = ray.remote(num_cpus=0, max_concurrency=open_calls)(Answering).remote()
    pool = RayPool.__new__(RayPool)
    names = [f"worker {number}" for number in range(open_calls)]
    pool.__dict__.update(_actors=dict.fromkeys(names, actor), _open_calls={})
    for name in names:
        pool.send(name, Assignment())
    calls, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for name, _ in pool.poll(0.5):
            calls += 1
            pool.send(name, Assignment())
    took, spent = time.perf_counter() - began, time.process_time() - used
    ray.kill(actor)
    return calls / took, spent / calls
