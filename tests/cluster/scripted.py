"""Workers that answer from a script, in this process or in Ray's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from phi4audio_cli.cluster.calls import Lost, Reply
from phi4audio_cli.cluster.wire import Gift, Ready, Said
from phi4audio_cli.cluster.worker import Plan, Worker
from phi4audio_cli.engine import Memory, ScriptedBackend, Stop, run
from phi4audio_cli.engine.loaded import TaskOf
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.types import Event, Job, Request
from tests.cli.samples import write_tone


def make_jobs(folder: Path, seconds: Iterable[float]) -> list[Job]:
    """Write recordings, whose outputs are to lie in `out`."""
    jobs = []
    for index, length in enumerate(seconds):
        source = write_tone(folder / f"talk{index}.wav", length)
        jobs.append(Job(index, source, {"txt": folder / "out" / f"talk{index}.txt"}))
    return jobs


def say_length(request: Request) -> str:
    assert request.chunk is not None
    return f"{len(request.chunk.samples)} samples"


def end_at(folder: Path, request: Request) -> str:
    """Kill the process, or break, where the test's folder says so; else say the length.

    `kill-3` kills at recording 3, `kill-3-1` at its chunk 1, `once-3` the first time only,
    `break-3` raises, `slow` takes its time.
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


def asked(folder: Path) -> list[tuple[int, int]]:
    """Return the recording and chunk of each request, in order."""
    notes = [path.name.split("-")[1:] for path in folder.glob("asked-*")]
    found = sorted((int(at), int(job), int(chunk)) for job, chunk, at in notes)
    return [(job, chunk) for _, job, chunk in found]


def plan(answer: Callable[[Request], str] = say_length, **more: object) -> Plan:
    settings = Settings(vad=False, align="none", chunk_seconds=1)
    made = Plan(settings, _make_task, partial(_open, answer), _identify)
    return replace(made, **more)  # type: ignore[arg-type]


def _make_task(settings: Settings) -> Transcribe:
    return Transcribe(None, chunk_seconds=settings.chunk_seconds, align="none")


def _identify(settings: Settings, say: Callable[[str], None]) -> str:
    return "a model"


@contextmanager
def _open(
    answer: Callable[[Request], str], task: object, settings: Settings, say: Callable[[str], None]
) -> Iterator[object]:
    backend = ScriptedBackend(answer)
    say("a note")

    def engine(
        jobs: Iterable[Job], task_of: TaskOf, /, *, memory: Memory | None, stop: Stop
    ) -> Generator[Event]:
        yield from run(jobs, task_of, backend, chunk_seconds=1, memory=memory, stop=stop)

    yield engine


class PoolHere:
    """Workers in threads of this process: all of a cluster but Ray."""

    def __init__(self, made: Plan) -> None:
        self.plan = made
        self.started: list[str] = []
        self.ended: list[str] = []
        self.most = 0
        self._workers: dict[str, Worker] = {}
        self._open: dict[Future[Ready | Said], str] = {}
        self._threads = ThreadPoolExecutor(32)

    def start(self) -> str:
        name = f"worker {len(self.started) + 1}"
        self.started.append(name)
        worker = self._workers[name] = Worker(self.plan)
        self.most = max(self.most, len(self._workers))
        self._open[self._threads.submit(worker.prepare)] = name
        return name

    def send(self, worker: str, gift: Gift) -> None:
        self._open[self._threads.submit(self._workers[worker].exchange, gift)] = worker

    def wait(self, seconds: float) -> Iterator[tuple[str, Reply]]:
        if not self._open:
            time.sleep(seconds)
        done, _ = wait(self._open, seconds, FIRST_COMPLETED)
        for call in done:
            worker = self._open.pop(call, None)
            if worker in self._workers:
                error = call.exception()
                assert error is None or isinstance(error, Exception)
                yield worker, Lost(error, died=False) if error else call.result()

    def stop(self, worker: str) -> None:
        self._workers[worker].stop()

    def end(self, worker: str) -> None:
        self.ended.append(worker)
        self._workers.pop(worker).stop()
