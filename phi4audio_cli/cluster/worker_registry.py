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
"""How long a worker may have nothing to do before its device is given back."""


@dataclass(slots=True)
class WorkerState:
    """A worker, as its driver knows it."""

    name: str
    host: str = ""
    """Its machine."""
    awaits_assignment: bool = False
    """Whether it waits for jobs: no call to it is open."""
    capacity: int = 1
    """Recordings it would take."""
    idle_since: float | None = None
    """None: it has something to do."""
    stopping: bool = False
    loaded_at: float | None = None
    """When its model was there; None: not yet."""
    ended_at: float | None = None
    done: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    """Seconds it has heard."""

    def add_audio(self, chunk: Chunk | None) -> None:
        """Count a chunk."""
        if chunk is not None:
            self.audio_seconds += chunk.seconds / 2 if chunk.speaker else chunk.seconds

    def attribute_error(self, error: Exception) -> Phi4AudioError:
        """Return an error that says where it happened."""
        where = f"{self.name} on {self.host}" if self.host else self.name
        if isinstance(error, Phi4AudioError):
            place = f"{error.where} ({where})" if error.where else where
            return type(error)(error.what, place, error.remedy)
        what = f"one worker after the other ends: {type(error).__name__}: {error}"
        return ModelError(what, where, "look at Ray's logs, and at the memory of its machine")

    def count_event(self, event: RunEvent) -> None:
        """Count a recording that is done or has failed."""
        self.done += isinstance(event, RecordingWritten)
        self.failed += isinstance(event, FileFailed)


class WorkerRegistry:
    """Starts workers, lets them go, and remembers what they did.

    Args:
        pool: Where they run.
        limits: How many there are to be while there is work for them.
        now: A clock, in seconds.

    Attributes:
        hands: Those that are there, by their names.
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
        """Start workers where recordings wait; let those go that have had nothing for a while."""
        if not num_waiting:
            self._remove_idle()
            return
        missing = min(self._limits.minimum, num_waiting) - len(self.workers)
        if missing <= 0 and not self.num_starting and self._all_busy:
            # One more at a time: each that can't be placed asks the cluster to grow.
            missing = int(len(self.workers) < self._limits.maximum)
        for _ in range(missing):
            hand = WorkerState(self._pool.start())
            self.workers[hand.name] = hand
            self._ever_started.append(hand)

    def quorum_ready(self, timeout_seconds: float) -> bool:
        """Return whether work may begin: all that were started first are ready, or took too long.

        Args:
            timeout_seconds: How long the first that is ready waits for the others, in seconds.
        """
        if not self._has_quorum and self._first_ready_at is not None:
            waited = self._now() - self._first_ready_at
            self._has_quorum = not self.num_starting or waited >= timeout_seconds
        return self._has_quorum

    def awaiting_assignment(self, may_assign: bool) -> list[WorkerState]:
        """Return the workers that wait for jobs."""
        return [hand for hand in self.workers.values() if hand.awaits_assignment and may_assign]

    def mark_ready(self, worker: WorkerState, reply: WorkerReady) -> None:
        """Note that a worker is prepared."""
        worker.host, worker.awaits_assignment, worker.idle_since = reply.host, True, self._now()
        self._first_ready_at = self._first_ready_at or self._now()

    def update(self, worker: WorkerState, status: WorkerStatus) -> None:
        """Note how a worker gets on."""
        worker.capacity, worker.awaits_assignment = status.capacity, True
        worker.idle_since = (worker.idle_since or self._now()) if status.idle else None
        if status.closed:
            self._remove(worker)

    def send(self, worker: WorkerState, assignment: Assignment) -> None:
        """Hand a worker jobs, or ask it for news."""
        worker.awaits_assignment = False
        if assignment.jobs:
            worker.idle_since = None
        self._pool.send(worker.name, assignment)

    def remove(self, worker: WorkerState) -> None:
        """Note that a worker is gone, and see to it that it is."""
        self._remove(worker)

    def shutdown(self) -> None:
        """Let all go: those that work finish their batches."""
        for hand in list(self.workers.values()):
            if hand.loaded_at is not None:
                hand.stopping = True
                self._pool.stop(hand.name)
            else:
                self._remove(hand)

    def stats(self) -> list[dict[str, Any]]:
        """Return what each worker did, for the report."""
        return [_worker_stats(hand, self._now()) for hand in self._ever_started if hand.host]

    @property
    def num_starting(self) -> int:
        """How many workers are not ready yet."""
        return sum(not hand.host for hand in self.workers.values())

    @property
    def _all_busy(self) -> bool:
        return all(hand.idle_since is None for hand in self.workers.values())

    def _remove_idle(self) -> None:
        for hand in list(self.workers.values()):
            idle = (
                hand.idle_since is not None and self._now() - hand.idle_since > IDLE_TIMEOUT_SECONDS
            )
            if not hand.host or idle:
                self._remove(hand)

    def _remove(self, worker: WorkerState) -> None:
        worker.ended_at = self._now()
        del self.workers[worker.name]
        self._pool.kill(worker.name)


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
