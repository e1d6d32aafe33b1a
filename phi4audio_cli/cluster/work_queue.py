"""The work queue of the driver: leases, acknowledgements, and jobs of lost workers.

It does not depend on Ray, and on time only through its clock.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from phi4audio_cli.cluster.messages import Assignment
from phi4audio_cli.jobs.shard import recording_bytes
from phi4audio_cli.types import Job

MAX_CRASHES = 3
"""Crashes of workers with the same recording, after which the recording fails."""

MAX_LOSSES = 10
"""Losses of workers with the same recording through their machine or the network."""

LONG_RECORDING_FACTOR = 8
"""A long recording has this many times the mean size."""

LOCK_RETRY_SECONDS = 2.0
"""Seconds before another attempt at a locked recording."""

LOCK_TIMEOUT_SECONDS = 120.0
"""Seconds for which the lock of a dead worker may persist on a network file system."""


def long_recordings_first(
    jobs: Sequence[Job], size: Callable[[Job], int] = recording_bytes
) -> list[Job]:
    """Return the jobs with very long recordings first, so that none starts near the end.

    The others keep their order, so that transcripts printed in order are not held back for long.

    Args:
        jobs: Jobs in the order of the inputs.
        size: Returns the size of a job's recording in bytes.
    """
    sizes = {job.index: size(job) for job in jobs}
    threshold = LONG_RECORDING_FACTOR * sum(sizes.values()) / max(len(sizes), 1)
    return sorted(jobs, key=lambda job: sizes[job.index] <= threshold)


class WorkQueue:
    """Leases jobs to workers in order, and requeues the jobs of lost workers.

    The jobs of a crashed worker are quarantined: a worker gets one of them at a time and no other
    job, so that the recording that causes crashes is identified.

    Args:
        jobs: All jobs.
        now: Returns the time in seconds.
    """

    def __init__(self, jobs: Iterable[Job], now: Callable[[], float] = time.monotonic) -> None:
        self._waiting = deque(jobs)
        self._quarantined: deque[Job] = deque()
        self._locked: deque[tuple[float, Job]] = deque()
        self._leased: dict[str, dict[int, Job]] = {}
        self._exclusive_workers: set[str] = set()
        """Workers with a quarantined job."""
        self._crashes: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._first_locked_at: dict[int, float] = {}
        self._now = now

    @property
    def num_waiting(self) -> int:
        """Number of jobs that are not leased."""
        return len(self._waiting) + len(self._quarantined) + len(self._locked)

    @property
    def finished(self) -> bool:
        """Whether no job is waiting or leased."""
        return not self.num_waiting and not any(self._leased.values())

    def num_leased(self, worker: str) -> int:
        """Return the number of jobs leased to a worker."""
        return len(self._leased.get(worker, ()))

    def was_redelivered(self, job: Job) -> bool:
        """Return whether a job was leased to a lost worker before."""
        return bool(self._crashes[job.index] or self._losses[job.index])

    def lease(self, worker: str, capacity: int) -> Assignment:
        """Lease jobs to a worker.

        Args:
            worker: Its name.
            capacity: Number of jobs it accepts.
        """
        leased = self._leased.setdefault(worker, {})
        if not leased:
            self._exclusive_workers.discard(worker)
        if worker in self._exclusive_workers:
            return Assignment(end_of_batch=True)
        self._requeue_locked()
        jobs: tuple[Job, ...]
        if self._quarantined and not leased:
            self._exclusive_workers.add(worker)
            jobs = (self._quarantined.popleft(),)
        else:
            jobs = tuple(self._waiting.popleft() for _ in range(min(capacity, len(self._waiting))))
        leased.update({job.index: job for job in jobs})
        redelivered = frozenset(job.index for job in jobs if self.was_redelivered(job))
        return Assignment(
            jobs, redelivered, end_of_batch=worker in self._exclusive_workers or not self._waiting
        )

    def ack(self, worker: str, job: Job) -> None:
        """Acknowledge a job that is finished or has failed."""
        self._leased[worker].pop(job.index, None)

    def retry_later(self, worker: str, job: Job) -> bool:
        """Requeue a job whose recording is locked.

        Returns:
            False if it was locked for too long; then it is not requeued.
        """
        now = self._now()
        first_locked_at = self._first_locked_at.setdefault(job.index, now)
        self.ack(worker, job)
        if now - first_locked_at >= LOCK_TIMEOUT_SECONDS:
            return False
        self._locked.append((now + LOCK_RETRY_SECONDS, job))
        return True

    def requeue(self, worker: str, *, crashed: bool) -> list[Job]:
        """Requeue the jobs of a lost worker.

        Args:
            worker: Its name.
            crashed: Whether its process crashed; else its machine is lost or can't be reached.

        Returns:
            Jobs that fail instead, because too many workers were lost with them.
        """
        self._exclusive_workers.discard(worker)
        failed = []
        for job in self._leased.pop(worker, {}).values():
            counts, limit = (self._crashes, MAX_CRASHES) if crashed else (self._losses, MAX_LOSSES)
            counts[job.index] += 1
            if counts[job.index] >= limit:
                failed.append(job)
            elif crashed:
                self._quarantined.append(job)
            else:
                self._waiting.appendleft(job)
        return failed

    def _requeue_locked(self) -> None:
        now = self._now()
        while self._locked and self._locked[0][0] <= now:
            # Quarantined jobs start a new batch, which reads their journals again.
            self._quarantined.append(self._locked.popleft()[1])
