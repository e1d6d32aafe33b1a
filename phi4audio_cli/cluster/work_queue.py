"""The work queue of the driver: leases, acknowledgements, and jobs of lost workers.

It depends neither on Ray nor on the time, except through its clock.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from phi4audio_cli.cluster.messages import Assignment
from phi4audio_cli.jobs.shard import recording_bytes
from phi4audio_cli.types import Job

MAX_CRASHES = 3
"""Workers that may die with a recording in hand; after that it is taken for the cause."""

MAX_LOSSES = 10
"""Workers that may be lost with it for reasons of their machines' or the network's."""

LONG_RECORDING_FACTOR = 8
"""So many times the mean size is long."""

LOCK_RETRY_SECONDS = 2.0
"""Seconds until a recording is tried again whose lock somebody held."""

LOCK_TIMEOUT_SECONDS = 120.0
"""Seconds a lock may outlive the worker that held it, on a shared disk whose server must notice."""


def long_recordings_first(
    jobs: Sequence[Job], size: Callable[[Job], int] = recording_bytes
) -> list[Job]:
    """Put recordings first that are far longer than most, so that none is begun at the end.

    The others stay in order: what is printed in order need not be kept for long.

    Args:
        jobs: In the order of the inputs.
        size: Of a job's recording, in bytes.
    """
    sizes = {job.index: size(job) for job in jobs}
    long = LONG_RECORDING_FACTOR * sum(sizes.values()) / max(len(sizes), 1)
    return sorted(jobs, key=lambda job: sizes[job.index] <= long)


class WorkQueue:
    """Hands out jobs in their order, and takes them back from workers that are gone.

    What a dead worker had in hand is done alone, one recording at a time, so that the one that
    kills is told from those that were merely near it.

    Args:
        jobs: All there is to do.
        now: A clock, in seconds.
    """

    def __init__(self, jobs: Iterable[Job], now: Callable[[], float] = time.monotonic) -> None:
        self._waiting = deque(jobs)
        self._quarantined: deque[Job] = deque()
        self._locked: deque[tuple[float, Job]] = deque()
        self._leased: dict[str, dict[int, Job]] = {}
        self._exclusive_workers: set[str] = set()
        """Workers that have a suspect."""
        self._crashes: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._first_locked_at: dict[int, float] = {}
        self._now = now

    @property
    def num_waiting(self) -> int:
        """Recordings that a worker could have now or soon."""
        return len(self._waiting) + len(self._quarantined) + len(self._locked)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.num_waiting and not any(self._leased.values())

    def num_leased(self, worker: str) -> int:
        """Return how many recordings a worker has."""
        return len(self._leased.get(worker, ()))

    def was_redelivered(self, job: Job) -> bool:
        """Return whether a recording was given to another worker before."""
        return bool(self._crashes[job.index] or self._losses[job.index])

    def lease(self, worker: str, capacity: int) -> Assignment:
        """Return what a worker is to do next.

        Args:
            worker: Its name.
            capacity: Recordings it would take.
        """
        held = self._leased.setdefault(worker, {})
        if not held:
            self._exclusive_workers.discard(worker)
        if worker in self._exclusive_workers:
            return Assignment(end_of_batch=True)
        self._requeue_locked()
        jobs: tuple[Job, ...]
        if self._quarantined and not held:
            self._exclusive_workers.add(worker)
            jobs = (self._quarantined.popleft(),)
        else:
            jobs = tuple(self._waiting.popleft() for _ in range(min(capacity, len(self._waiting))))
        held.update({job.index: job for job in jobs})
        again = frozenset(job.index for job in jobs if self.was_redelivered(job))
        return Assignment(
            jobs, again, end_of_batch=worker in self._exclusive_workers or not self._waiting
        )

    def ack(self, worker: str, job: Job) -> None:
        """Note that a recording is done, or has failed for good."""
        self._leased[worker].pop(job.index, None)

    def retry_later(self, worker: str, job: Job) -> bool:
        """Put off a recording whose lock somebody holds.

        Returns:
            False where it was held for too long: it is given up.
        """
        now = self._now()
        first = self._first_locked_at.setdefault(job.index, now)
        self.ack(worker, job)
        if now - first >= LOCK_TIMEOUT_SECONDS:
            return False
        self._locked.append((now + LOCK_RETRY_SECONDS, job))
        return True

    def requeue(self, worker: str, *, crashed: bool) -> list[Job]:
        """Take back what a worker had that is gone.

        Args:
            worker: Its name.
            crashed: Whether its process did; else its machine is gone, or can't be reached.

        Returns:
            Recordings that are given up: too many workers were lost with them.
        """
        self._exclusive_workers.discard(worker)
        given_up = []
        for job in self._leased.pop(worker, {}).values():
            counts, most = (self._crashes, MAX_CRASHES) if crashed else (self._losses, MAX_LOSSES)
            counts[job.index] += 1
            if counts[job.index] >= most:
                given_up.append(job)
            elif crashed:
                self._quarantined.append(job)
            else:
                self._waiting.appendleft(job)
        return given_up

    def _requeue_locked(self) -> None:
        now = self._now()
        while self._locked and self._locked[0][0] <= now:
            # Alone: whoever gets it looks anew at what others did.
            self._quarantined.append(self._locked.popleft()[1])
