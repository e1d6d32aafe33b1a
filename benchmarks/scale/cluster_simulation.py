"""A simulation of many workers with one common queue, or a queue for each.

A worker reads several recordings at a time, each at a reader's speed at most, and its model answers
them one after the other. A driver assigns recordings, which takes time for each. A worker that dies
loses only time, because journals keep the answers.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CHUNK_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """The workers and the driver. Times in seconds."""

    workers: int = 1000
    rtfx: float = 1500.0
    """Seconds of audio that a worker's model answers per second."""
    reader_rtfx: float = float("inf")
    """Seconds of audio of one recording that are read per second."""
    readers: int = 15
    """Recordings that a worker reads at a time."""
    start_up: float = 60.0
    """Until a worker's model is loaded."""
    hours_to_death: float | None = None
    """Mean time until a worker dies and restarts; None: no deaths."""
    slow: float = 0.0
    """Share of the workers that have half the speed."""
    driver_recording: float = 0.0
    """Driver time per recording."""
    driver_chunk: float = 0.0
    """Driver time per chunk."""

    @property
    def speeds(self) -> list[float]:
        """Each worker's RTFx."""
        slow = round(self.slow * self.workers)
        return [self.rtfx / 2] * slow + [self.rtfx] * (self.workers - slow)


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The result of a job. Times in seconds from its start."""

    ideal: float
    """Time if all models were always busy, without start-up."""
    makespan: float
    """When the last recording is done."""
    idle_from: Sequence[float]
    """Times from which the workers have no work, in ascending order."""
    start_up: float
    deaths: int

    @property
    def excess_seconds(self) -> float:
        """Seconds beyond start-up and ideal."""
        return self.makespan - self.start_up - self.ideal

    @property
    def idle_share(self) -> float:
        """Idle share of the models' time after loading."""
        return self.excess_seconds / (self.makespan - self.start_up)

    @property
    def tail(self) -> float:
        """Seconds between the first idle worker and the end."""
        return self.makespan - self.idle_from[0]


def simulate_cluster(
    machines: ClusterSpec, queues: Sequence[Iterable[float]], seed: int = 0
) -> SimulationResult:
    """Simulate a job.

    Args:
        machines: The workers and the driver.
        queues: Lengths of the recordings in seconds, in order: one queue for all workers, or one
            for each.
        seed: Of the deaths.
    """
    return _Simulation(machines, queues, seed).go()


class _Simulation:
    def __init__(self, machines: ClusterSpec, queues: Sequence[Iterable[float]], seed: int) -> None:
        self._machines = machines
        self._queues: list[Iterator[float]] = [iter(each) for each in queues]
        self._returned: list[list[tuple[float, float]]] = [[] for _ in queues]
        """Per queue: return time and remaining length of recordings of dead workers, as a heap."""
        self._rng = random.Random(seed)
        self._speeds = machines.speeds
        self._model_free = [machines.start_up] * machines.workers
        self._death = [self._draw(machines.start_up) for _ in self._speeds]
        self._driver_free = 0.0
        self._total = self._end = 0.0
        self._reading = [machines.readers] * machines.workers
        self._idle_from: list[float] = []
        self._deaths = 0
        self._slots = [
            (machines.start_up, worker)
            for _ in range(machines.readers)
            for worker in range(machines.workers)
        ]
        """Readers by the time from which they are free: a heap."""

    def go(self) -> SimulationResult:
        while self._slots:
            now, worker = self._slots[0]
            if now >= self._death[worker] and self._is_restarting(worker, now):
                continue
            queue = worker % len(self._queues)
            length = self._next(queue, now)
            if length is None:
                self._release_reader(queue, now, worker)
            else:
                heapq.heapreplace(self._slots, (self._do(queue, length, now, worker), worker))
        return SimulationResult(
            self._total / sum(self._speeds),
            self._end,
            sorted(self._idle_from),
            self._machines.start_up,
            self._deaths,
        )

    def _next(self, queue: int, now: float) -> float | None:
        returned = self._returned[queue]
        if returned and returned[0][0] <= now:
            return heapq.heappop(returned)[1]
        length = next(self._queues[queue], None)
        if length is not None:
            self._total += length
        return length

    def _do(self, queue: int, length: float, now: float, worker: int) -> float:
        """Process a recording; return the time at which its reader is free."""
        machines = self._machines
        begin = now
        if cost := machines.driver_recording + machines.driver_chunk * length / CHUNK_SECONDS:
            begin = self._driver_free = max(now, self._driver_free) + cost
        answered = max(begin, self._model_free[worker]) + length / self._speeds[worker]
        self._model_free[worker] = answered
        end = max(answered, begin + length / machines.reader_rtfx)
        death = self._death[worker]
        if end <= death:
            self._end = max(self._end, end)
            return end
        answering = death - (answered - length / self._speeds[worker])
        done = min(answering * self._speeds[worker], (death - begin) * machines.reader_rtfx)
        heapq.heappush(self._returned[queue], (death, length - max(done, 0.0)))
        return max(death, begin) + machines.start_up

    def _release_reader(self, queue: int, now: float, worker: int) -> None:
        """Release a reader that finds no work, or let it wait for a recording of a dead worker."""
        if returned := self._returned[queue]:
            heapq.heapreplace(self._slots, (returned[0][0], worker))
        else:
            heapq.heappop(self._slots)
            self._reading[worker] -= 1
            if not self._reading[worker]:
                self._idle_from.append(now)

    def _is_restarting(self, worker: int, now: float) -> bool:
        """Let a reader of a dead worker wait for the model; then restart the worker."""
        ready = self._death[worker] + self._machines.start_up
        if now < ready:
            heapq.heapreplace(self._slots, (ready, worker))
            return True
        self._deaths += 1
        self._model_free[worker] = now
        self._death[worker] = self._draw(now)
        return False

    def _draw(self, now: float) -> float:
        if self._machines.hours_to_death is None:
            return float("inf")
        return now + self._rng.expovariate(1 / (3600 * self._machines.hours_to_death))
