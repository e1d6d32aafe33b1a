"""Where a worker's engine and the driver's calls meet: jobs go in, news come out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence

from phi4audio_cli.cluster.wire import Said, Sent
from phi4audio_cli.types import Job

AHEAD = 4
"""Recordings a worker has lying ready, so that short ones don't wait for the driver."""


class Hatch:
    """Passes jobs and news between two threads.

    The engine runs in rounds: it takes jobs as they come, and a round ends when the driver said
    that no more come for now. So what it holds is answered, and nothing waits for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._news: list[Sent] = []
        self._last = False
        self._working = False
        self._hungry = False
        self._stopped = False
        self._left = False

    # The driver's calls.

    def give(self, jobs: Sequence[Job], *, last: bool) -> None:
        """Hand jobs in; `last`: no more come until these are done."""
        with self._changed:
            self._jobs += jobs
            self._last = last
            self._changed.notify_all()

    def listen(self, seconds: float) -> Said:
        """Return what is new, as soon as there is anything, or nothing after some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._hungry or self._left, seconds)
            news, self._news, self._hungry = tuple(self._news), [], False
            idle = not self._working and not self._jobs
            return Said(news, max(AHEAD - len(self._jobs), 0), idle, self._left)

    def stop(self) -> None:
        """Give out no more jobs."""
        with self._changed:
            self._stopped = True
            self._jobs.clear()
            self._changed.notify_all()

    # The engine's threads.

    def stopped(self) -> bool:
        """Whether to begin nothing new."""
        return self._stopped

    def rounds(self) -> Iterator[Iterator[Job]]:
        """Yield the jobs of one round after the other, until told to stop."""
        while self._wait():
            yield self._round()
            self._end_round()

    def tell(self, news: Sent) -> None:
        """Hand news out."""
        with self._changed:
            self._news.append(news)
            self._changed.notify_all()

    def leave(self) -> None:
        """Note that the engine is gone."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopped)
            self._working = not self._stopped
            return self._working

    def _round(self) -> Iterator[Job]:
        while (job := self._next()) is not None:
            yield job

    def _next(self) -> Job | None:
        with self._changed:
            while not self._jobs and not self._last and not self._stopped:
                self._hungry = True
                self._changed.notify_all()
                self._changed.wait()
            return self._jobs.popleft() if self._jobs and not self._stopped else None

    def _end_round(self) -> None:
        with self._changed:
            self._working = False
            self._hungry = True  # so that the driver hears of it at once
            self._changed.notify_all()
