"""The registry of workers: it starts and removes them and counts their work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phi4audio_cli.cluster.messages import Assignment, WorkerPool, WorkerReady, WorkerStatus
from phi4audio_cli.cluster.worker_resources import WorkerCount
from phi4audio_cli.errors import ModelError, Phi4AudioError
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import Chunk, FileFailed

IDLE_TIMEOUT_SECONDS = 5.0
"""Time without jobs after which a worker ends and frees its device."""


@dataclass(slots=True)
class WorkerState:
    """The driver's state of a worker."""

    name: str
    host: str = ""
    """Its machine and process; empty until it is ready."""
    awaits_assignment: bool = False
    """Whether no call to it is open, so that jobs can be sent."""
    capacity: int = 1
    """Number of further recordings it accepts."""
    idle_since: float | None = None
    """Time of its last job; None while it has jobs."""
    stopping: bool = False
    loaded_at: float | None = None
    """Time when its model was loaded; None before."""
    ended_at: float | None = None
    done: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    """Seconds of the recordings it has transcribed."""

    def add_audio(self, chunk: Chunk | None) -> None:
        """Count the audio of a chunk."""
        if chunk is not None:
            self.audio_seconds += chunk.recording_seconds

    def attribute_error(self, error: Exception) -> Phi4AudioError:
        """Return an error that names the worker and its machine."""
        where = f"{self.name} on {self.host}" if self.host else self.name
        if isinstance(error, Phi4AudioError):
            where = f"{error.where} ({where})" if error.where else where
            return type(error)(error.what, where, error.remedy)
        what = f"several workers in a row have ended: {type(error).__name__}: {error}"
        return ModelError(what, where, "check Ray's logs, and the memory of its machine")

    def count_event(self, event: RunEvent) -> None:
        """Count a recording that is finished or has failed."""
        self.done += isinstance(event, RecordingWritten)
        self.failed += isinstance(event, FileFailed)


class WorkerRegistry:
    """Starts and ends workers, and keeps their statistics.

    Args:
        pool: Runs the workers.
        limits: Number of workers while jobs are waiting.
        now: Returns the time in seconds.

    Attributes:
        workers: The running workers, by name.
    """

    def __init__(
        self, pool: WorkerPool, limits: WorkerCount, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.workers: dict[str, WorkerState] = {}
        self._ever_started: list[WorkerState] = []
        self._pool = pool
        self._limits = limits
        self._now = now
        self._first_ready_at: float | None = None
        self._has_quorum = False

    def scale(self, num_waiting: int) -> None:
        """Start workers while jobs are waiting, and end idle ones afterwards."""
        if not num_waiting:
            self._remove_idle()
            return
        missing = min(self._limits.minimum, num_waiting) - len(self.workers)
        if missing <= 0 and not self.num_starting and self._all_busy:
            # One at a time: each worker without a machine makes the cluster grow.
            missing = int(len(self.workers) < self._limits.maximum)
        for _ in range(missing):
            worker = WorkerState(self._pool.start())
            self.workers[worker.name] = worker
            self._ever_started.append(worker)

    def quorum_ready(self, timeout_seconds: float) -> bool:
        """Return whether jobs may be assigned: the first workers are ready, or the time is over.

        Args:
            timeout_seconds: Time for which the first ready worker waits for the others.
        """
        if not self._has_quorum and self._first_ready_at is not None:
            waited = self._now() - self._first_ready_at
            self._has_quorum = not self.num_starting or waited >= timeout_seconds
        return self._has_quorum

    def awaiting_assignment(self, may_assign: bool) -> list[WorkerState]:
        """Return the workers to which jobs can be sent."""
        return [each for each in self.workers.values() if each.awaits_assignment and may_assign]

    def mark_ready(self, worker: WorkerState, reply: WorkerReady) -> None:
        """Record that a worker is ready."""
        worker.host, worker.awaits_assignment, worker.idle_since = reply.host, True, self._now()
        self._first_ready_at = self._first_ready_at or self._now()

    def update(self, worker: WorkerState, status: WorkerStatus) -> None:
        """Record the status of a worker."""
        worker.capacity, worker.awaits_assignment = status.capacity, True
        worker.idle_since = (worker.idle_since or self._now()) if status.idle else None
        if status.closed:
            self.remove(worker)

    def send(self, worker: WorkerState, assignment: Assignment) -> None:
        """Send jobs to a worker, or ask it for messages."""
        worker.awaits_assignment = False
        if assignment.jobs:
            worker.idle_since = None
        self._pool.send(worker.name, assignment)

    def remove(self, worker: WorkerState) -> None:
        """End a worker immediately."""
        worker.ended_at = self._now()
        del self.workers[worker.name]
        self._pool.kill(worker.name)

    def shutdown(self) -> None:
        """End all workers; those with a model finish their batches first."""
        for worker in list(self.workers.values()):
            if worker.loaded_at is not None:
                worker.stopping = True
                self._pool.stop(worker.name)
            else:
                self.remove(worker)

    def stats(self) -> list[dict[str, Any]]:
        """Return the statistics of each worker, for the report."""
        return [_worker_stats(worker, self._now()) for worker in self._ever_started if worker.host]

    @property
    def num_starting(self) -> int:
        """Number of workers that are not ready yet."""
        return sum(not worker.host for worker in self.workers.values())

    @property
    def _all_busy(self) -> bool:
        return all(worker.idle_since is None for worker in self.workers.values())

    def _remove_idle(self) -> None:
        for worker in list(self.workers.values()):
            idle_since = worker.idle_since
            idle = idle_since is not None and self._now() - idle_since > IDLE_TIMEOUT_SECONDS
            if not worker.host or idle:
                self.remove(worker)


def _worker_stats(worker: WorkerState, now: float) -> dict[str, Any]:
    elapsed = (worker.ended_at or now) - worker.loaded_at if worker.loaded_at is not None else 0.0
    return {
        "name": worker.name,
        "place": worker.host,
        "done": worker.done,
        "failed": worker.failed,
        "seconds": round(worker.audio_seconds, 2),
        "elapsed": round(elapsed, 2),
        "rtfx": round(worker.audio_seconds / elapsed, 2)
        if worker.audio_seconds and elapsed
        else None,
    }
