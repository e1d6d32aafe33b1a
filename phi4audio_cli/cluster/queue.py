"""Which recordings wait, which worker has which, and which may be what workers die of.

Plain bookkeeping of the driver: it knows neither Ray nor time but by its clock.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from phi4audio_cli.cluster.wire import Gift
from phi4audio_cli.jobs.shard import recording_bytes
from phi4audio_cli.types import Job

DEATHS = 3
"""Workers that may die with a recording in hand; after that it is taken for the cause."""

LOSSES = 10
"""Workers that may be lost with it for reasons of their machines' or the network's."""

LONG = 8
"""So many times the mean size is long."""

CLAIM_PAUSE = 2.0
"""Seconds until a recording is tried again whose lock somebody held."""

CLAIM_PATIENCE = 120.0
"""Seconds a lock may outlive the worker that held it, on a shared disk whose server must notice."""


def long_ones_first(jobs: Sequence[Job], size: Callable[[Job], int] = recording_bytes) -> list[Job]:
    """Put recordings first that are far longer than most, so that none is begun at the end.

    The others stay in order: what is printed in order need not be kept for long.

    Args:
        jobs: In the order of the inputs.
        size: Of a job's recording, in bytes.
    """
    sizes = {job.index: size(job) for job in jobs}
    long = LONG * sum(sizes.values()) / max(len(sizes), 1)
    return sorted(jobs, key=lambda job: sizes[job.index] <= long)


class Queue:
    """Hands out jobs in their order, and takes them back from workers that are gone.

    What a dead worker had in hand is done alone, one recording at a time, so that the one that
    kills is told from those that were merely near it.

    Args:
        jobs: All there is to do.
        now: A clock, in seconds.
    """

    def __init__(self, jobs: Iterable[Job], now: Callable[[], float] = time.monotonic) -> None:
        self._waiting = deque(jobs)
        self._suspects: deque[Job] = deque()
        self._claimed: deque[tuple[float, Job]] = deque()
        self._held: dict[str, dict[int, Job]] = {}
        self._alone: set[str] = set()
        """Workers that have a suspect."""
        self._deaths: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._first_claimed: dict[int, float] = {}
        self._now = now

    @property
    def waiting(self) -> int:
        """Recordings that a worker could have now or soon."""
        return len(self._waiting) + len(self._suspects) + len(self._claimed)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.waiting and not any(self._held.values())

    def held(self, worker: str) -> int:
        """Return how many recordings a worker has."""
        return len(self._held.get(worker, ()))

    def returned(self, job: Job) -> bool:
        """Return whether a recording was given to another worker before."""
        return bool(self._deaths[job.index] or self._losses[job.index])

    def give(self, worker: str, room: int) -> Gift:
        """Return what a worker is to do next.

        Args:
            worker: Its name.
            room: Recordings it would take.
        """
        held = self._held.setdefault(worker, {})
        if not held:
            self._alone.discard(worker)
        if worker in self._alone:
            return Gift(last=True)
        self._recover_claimed()
        jobs: tuple[Job, ...]
        if self._suspects and not held:
            self._alone.add(worker)
            jobs = (self._suspects.popleft(),)
        else:
            jobs = tuple(self._waiting.popleft() for _ in range(min(room, len(self._waiting))))
        held.update({job.index: job for job in jobs})
        again = frozenset(job.index for job in jobs if self.returned(job))
        return Gift(jobs, again, last=worker in self._alone or not self._waiting)

    def settle(self, worker: str, job: Job) -> None:
        """Note that a recording is done, or has failed for good."""
        self._held[worker].pop(job.index, None)

    def postpone(self, worker: str, job: Job) -> bool:
        """Put off a recording whose lock somebody holds.

        Returns:
            False where it was held for too long: it is given up.
        """
        now = self._now()
        first = self._first_claimed.setdefault(job.index, now)
        self.settle(worker, job)
        if now - first >= CLAIM_PATIENCE:
            return False
        self._claimed.append((now + CLAIM_PAUSE, job))
        return True

    def lose(self, worker: str, *, died: bool) -> list[Job]:
        """Take back what a worker had that is gone.

        Args:
            worker: Its name.
            died: Whether its process did; else its machine is gone, or can't be reached.

        Returns:
            Recordings that are given up: too many workers were lost with them.
        """
        self._alone.discard(worker)
        given_up = []
        for job in self._held.pop(worker, {}).values():
            counts, most = (self._deaths, DEATHS) if died else (self._losses, LOSSES)
            counts[job.index] += 1
            if counts[job.index] >= most:
                given_up.append(job)
            elif died:
                self._suspects.append(job)
            else:
                self._waiting.appendleft(job)
        return given_up

    def _recover_claimed(self) -> None:
        now = self._now()
        while self._claimed and self._claimed[0][0] <= now:
            # Alone: whoever gets it looks anew at what others did.
            self._suspects.append(self._claimed.popleft()[1])
