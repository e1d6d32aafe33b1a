"""Workers with scripted answers, in this process or in Ray processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from phi4audio_cli.cluster.messages import Assignment, Reply, WorkerLost, WorkerReady, WorkerStatus
from phi4audio_cli.cluster.worker import Worker, WorkerConfig
from phi4audio_cli.jobs.task_builders import transcribe_task
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.settings import Settings
from phi4audio_cli.types import Job, Request
from tests.factories import write_tone


def make_jobs(folder: Path, seconds: Iterable[float]) -> list[Job]:
    """Write recordings, and return their jobs with outputs in `out`."""
    jobs = []
    for index, length in enumerate(seconds):
        source = write_tone(folder / f"talk{index}.wav", length)
        jobs.append(Job(index, source, {"txt": folder / "out" / f"talk{index}.txt"}))
    return jobs


def say_length(request: Request) -> str:
    assert request.chunk is not None
    return f"{len(request.chunk.samples)} samples"


def crash_on_demand(folder: Path, request: Request) -> str:
    """Kill the process, or raise, if a file in the folder says so; else return the length.

    `kill-3` kills at recording 3, `kill-3-1` at its chunk 1, `once-3` only at the first attempt,
    `break-3` raises, `slow` contains a delay in seconds.
    """
    assert request.chunk is not None
    note = folder / f"asked-{request.job}-{request.chunk.index}-{time.monotonic_ns()}"
    note.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    if (folder / "slow").exists():
        time.sleep(float((folder / "slow").read_text()))
    if (folder / f"break-{request.job}").exists():
        raise RuntimeError(f"recording {request.job} is poison")
    once = folder / f"once-{request.job}"
    killed = [folder / f"kill-{request.job}", folder / f"kill-{request.job}-{request.chunk.index}"]
    if once.exists():
        once.unlink()
        killed.append(folder)
    if any(each.exists() for each in killed):
        os.kill(os.getpid(), signal.SIGKILL)
    return say_length(request)


def recorded_requests(folder: Path) -> list[tuple[int, int]]:
    """Return the recording and chunk of each request, in order."""
    notes = [path.name.split("-")[1:] for path in folder.glob("asked-*")]
    found = sorted((int(at), int(job), int(chunk)) for job, chunk, at in notes)
    return [(job, chunk) for _, job, chunk in found]


def make_worker_config(
    answer: Callable[[Request], str] = say_length, **changes: object
) -> WorkerConfig:
    settings = Settings(vad=False, align="none", chunk_seconds=1, readers=1)
    config = WorkerConfig(settings, transcribe_task, backend=ScriptedBackend(answer))
    return replace(config, **changes)  # type: ignore[arg-type]


class ThreadWorkerPool:
    """A pool of workers in threads of this process, without Ray."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.started: list[str] = []
        self.killed: list[str] = []
        self.max_running = 0
        self._workers: dict[str, Worker] = {}
        self._open_calls: dict[Future[WorkerReady | WorkerStatus], str] = {}
        self._threads = ThreadPoolExecutor(32)

    def start(self) -> str:
        name = f"worker {len(self.started) + 1}"
        self.started.append(name)
        worker = self._workers[name] = Worker(self.config)
        self.max_running = max(self.max_running, len(self._workers))
        self._open_calls[self._threads.submit(worker.prepare)] = name
        return name

    def send(self, worker: str, assignment: Assignment) -> None:
        self._open_calls[self._threads.submit(self._workers[worker].exchange, assignment)] = worker

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        if not self._open_calls:
            time.sleep(timeout_seconds)
        done, _ = wait(self._open_calls, timeout_seconds, FIRST_COMPLETED)
        for call in done:
            worker = self._open_calls.pop(call, None)
            if worker in self._workers:
                error = call.exception()
                assert error is None or isinstance(error, Exception)
                yield worker, WorkerLost(error, died=False) if error else call.result()

    def stop(self, worker: str) -> None:
        self._workers[worker].stop()

    def kill(self, worker: str) -> None:
        self.killed.append(worker)
        self._workers.pop(worker).stop()
