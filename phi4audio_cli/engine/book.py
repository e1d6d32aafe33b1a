"""What the engine knows of the recordings under way.

Two threads write in it: the one that cuts recordings and feeds the backend, and the caller's,
which takes the answers. Whoever completes a recording puts it together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import (
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Generation,
    Job,
    Request,
    Unanswered,
)


@dataclass(slots=True)
class _Progress:
    """What is known of one recording."""

    job: Job
    task: Task
    unanswered: dict[int, tuple[int, Request]] = field(default_factory=dict)
    """By the request's identity: its place in the order of asking, and itself."""
    answers: list[tuple[int, Generation]] = field(default_factory=list)
    asked: int = 0
    seconds: float | None = None
    """Length; None until the recording is cut to its end."""
    warnings: tuple[str, ...] = ()
    failed: bool = False
    """Its failure is told already; it stays until it is cut to its end."""

    @property
    def complete(self) -> bool:
        return self.seconds is not None and not self.unanswered and not self.failed

    def in_order(self) -> list[Generation]:
        return [answer for _, answer in sorted(self.answers, key=lambda entry: entry[0])]


class Book:
    """Keeps the answers of each recording until it is done; nothing is kept of it then.

    A recording's task is asked what to do next, under the lock.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: dict[int, _Progress] = {}
        self._events: deque[Event] = deque()
        self._waiting: deque[Request] = deque()
        self._unanswered = 0
        self._closed = False

    # The thread that feeds the backend.

    def start(self, job: Job, task: Task, seconds: float | None) -> None:
        """Note that a recording was opened; `seconds` is its length by the header."""
        with self._changed:
            self._under_way[job.index] = _Progress(job, task)
            self._events.append(FileStarted(job, seconds))

    def ask(self, job: Job, request: Request) -> None:
        """Note that a request is handed to the backend."""
        with self._changed:
            self._note(self._under_way[job.index], request)

    def end(self, job: Job, seconds: float, warnings: tuple[str, ...] = ()) -> None:
        """Note that a recording is cut to its end, its real length, and what to know of it."""
        with self._changed:
            progress = self._under_way[job.index]
            progress.seconds = seconds
            progress.warnings = warnings
            if progress.failed:
                del self._under_way[job.index]
            self._go_on(progress)

    def fail(self, job: Job, error: Exception) -> None:
        """Note that a recording can't be read on; answers to come for it are dropped."""
        with self._changed:
            progress = self._under_way.pop(job.index, None)
            if progress is None or not progress.failed:
                self._events.append(FileFailed(job, error))

    def waiting(self) -> list[Request]:
        """Take the requests that repairs and follow-ups made."""
        with self._changed:
            taken = list(self._waiting)
            self._waiting.clear()
            return taken

    def rest(self) -> list[Request]:
        """Wait until all that was handed out is answered, then take what is to be asked now.

        Returns:
            Nothing when all is done, or the run was ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._unanswered == len(self._waiting))
            return [] if self._closed else self.waiting()

    # The caller's thread; for answers that are recalled, the one that feeds the backend.

    def answered(self, answer: Generation | Unanswered, *, recalled: bool = False) -> None:
        """Take an answer in, or that there is none: its recording fails then.

        Args:
            answer: To a request that is open.
            recalled: It is an earlier run's.

        Raises:
            ValueError: Nobody asked for it: the backend's mistake.
        """
        with self._changed:
            self._unanswered -= 1
            progress = self._under_way.get(answer.request.job)
            if progress is not None:  # else its recording failed meanwhile
                self._take(progress, answer, recalled)
            self._changed.notify_all()

    def events(self) -> Iterator[Event]:
        """Take the events that were not taken yet."""
        while self._events:
            yield self._events.popleft()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # Under the lock.

    def _take(self, progress: _Progress, answer: Generation | Unanswered, recalled: bool) -> None:
        request = answer.request
        place, _ = progress.unanswered.pop(id(request), (None, None))
        if place is None:
            raise ValueError("the backend answered a request that was not open")
        if progress.failed:
            return
        if isinstance(answer, Unanswered):
            self._give_up(progress, answer.error)
            return
        self._events.append(ChunkDone(progress.job, answer, recalled))
        progress.answers.append((place, _without_samples(answer)))
        try:
            self._ask_too(progress, progress.task.repair(answer))
        except Exception as error:  # one recording's trouble must not cost the others
            self._give_up(progress, error)
        else:
            self._go_on(progress)

    def _go_on(self, progress: _Progress) -> None:
        """Ask what follows, or put the recording together, when all its answers are in."""
        if not progress.complete:
            return
        answers = progress.in_order()
        try:
            more = progress.task.follow_up(answers)
            if any(request.chunk is not None for request in more):
                raise ValueError("a follow-up can't be about audio: it is gone")
            self._ask_too(progress, more)
            if not more:
                result = progress.task.assemble(answers, progress.seconds or 0.0)
                del self._under_way[progress.job.index]
                self._events.append(FileDone(progress.job, result, progress.warnings))
        except Exception as error:
            self._give_up(progress, error)

    def _give_up(self, progress: _Progress, error: Exception) -> None:
        self._events.append(FileFailed(progress.job, error))
        progress.failed = True
        if progress.seconds is not None:  # else the thread that cuts it still needs it
            del self._under_way[progress.job.index]

    def _ask_too(self, progress: _Progress, requests: Iterable[Request]) -> None:
        for request in requests:
            self._note(progress, request)
            self._waiting.append(request)

    def _note(self, progress: _Progress, request: Request) -> None:
        # Kept until it is answered, so that no other request can have its identity meanwhile.
        progress.unanswered[id(request)] = (progress.asked, request)
        progress.asked += 1
        self._unanswered += 1


def _without_samples(answer: Generation) -> Generation:
    """Let go of an answer's audio, and keep its length: answers stay until the recording ends."""
    chunk = answer.request.chunk
    if chunk is None:
        return answer
    silence = np.broadcast_to(np.float32(0), chunk.samples.shape)
    light = replace(answer.request, chunk=replace(chunk, samples=silence))
    return replace(answer, request=light)
