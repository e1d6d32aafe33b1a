"""Open requests and answers of the recordings in progress.

Two threads use it: one feeds requests to the backend, and the caller's adds answers.
The thread that completes a recording assembles its result.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

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
    RequestFailed,
)


@dataclass(slots=True)
class _RecordingState:
    """What is known of one recording."""

    job: Job
    task: Task
    open_requests: dict[int, int] = field(default_factory=dict)
    """From the id of each request without an answer to its place in the order of requests."""
    answers: list[tuple[int, Generation]] = field(default_factory=list)
    request_count: int = 0
    seconds: float | None = None
    """Length; None until the recording is cut to its end."""
    warnings: tuple[str, ...] = ()
    failed: bool = False
    """Its failure is told already; it stays until it is cut to its end."""

    @property
    def complete(self) -> bool:
        return self.seconds is not None and not self.open_requests and not self.failed

    def answers_in_order(self) -> list[Generation]:
        return [answer for _, answer in sorted(self.answers, key=lambda entry: entry[0])]


class ResultCollector:
    """Keeps the answers of each recording until it is done; nothing is kept of it then.

    A recording's task is asked what to do next, under the lock.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._in_progress: dict[int, _RecordingState] = {}
        self._events: deque[Event] = deque()
        self._queued_requests: deque[Request] = deque()
        self._open_count = 0
        self._closed = False

    # The thread that feeds the backend.

    def add_recording(self, job: Job, task: Task, seconds: float | None) -> None:
        """Note that a recording was opened; `seconds` is its length by the header."""
        with self._condition:
            self._in_progress[job.index] = _RecordingState(job, task)
            self._events.append(FileStarted(job, seconds))

    def add_request(self, job: Job, request: Request) -> None:
        """Note that a request is handed to the backend."""
        with self._condition:
            self._track_request(self._in_progress[job.index], request)

    def end_recording(self, job: Job, seconds: float, warnings: tuple[str, ...] = ()) -> None:
        """Note that a recording is cut to its end, its real length, and what to know of it."""
        with self._condition:
            progress = self._in_progress[job.index]
            progress.seconds = seconds
            progress.warnings = warnings
            if progress.failed:
                del self._in_progress[job.index]
            self._advance(progress)

    def fail_recording(self, job: Job, error: Exception) -> None:
        """Note that a recording can't be read on; answers to come for it are dropped."""
        with self._condition:
            progress = self._in_progress.pop(job.index, None)
            if progress is None or not progress.failed:
                self._events.append(FileFailed(job, error))

    def pop_requests(self) -> list[Request]:
        """Take the requests that repairs and follow-ups made."""
        with self._condition:
            taken = list(self._queued_requests)
            self._queued_requests.clear()
            return taken

    def wait_and_pop_requests(self) -> list[Request]:
        """Wait until all that was handed out is answered, then take what is to be asked now.

        Returns:
            Nothing when all is done, or the run was ended.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or self._open_count == len(self._queued_requests)
            )
            return [] if self._closed else self.pop_requests()

    # The caller's thread; for answers that are recalled, the one that feeds the backend.

    def add_answer(self, answer: Generation | RequestFailed, *, resumed: bool = False) -> None:
        """Take an answer in, or that there is none: its recording fails then.

        Args:
            answer: To a request that is open.
            resumed: It is an earlier run's.

        Raises:
            ValueError: Nobody asked for it: the backend's mistake.
        """
        with self._condition:
            self._open_count -= 1
            progress = self._in_progress.get(answer.request.job)
            if progress is not None:  # else its recording failed meanwhile
                self._apply_answer(progress, answer, resumed)
            self._condition.notify_all()

    def pop_events(self) -> Iterator[Event]:
        """Take the events that were not taken yet."""
        while self._events:
            yield self._events.popleft()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    # Under the lock.

    def _apply_answer(
        self, recording: _RecordingState, answer: Generation | RequestFailed, resumed: bool
    ) -> None:
        place = recording.open_requests.pop(answer.request.id, None)
        if place is None:
            raise ValueError("the backend answered a request that was not open")
        if recording.failed:
            return
        if isinstance(answer, RequestFailed):
            self._fail(recording, answer.error)
            return
        self._events.append(ChunkDone(recording.job, answer, resumed))
        recording.answers.append((place, _drop_samples(answer)))
        try:
            self._enqueue(recording, recording.task.retry(answer))
        except Exception as error:  # one recording's trouble must not cost the others
            self._fail(recording, error)
        else:
            self._advance(recording)

    def _advance(self, recording: _RecordingState) -> None:
        """Ask what follows, or put the recording together, when all its answers are in."""
        if not recording.complete:
            return
        answers = recording.answers_in_order()
        try:
            more = recording.task.follow_up(answers)
            if any(request.chunk is not None for request in more):
                raise ValueError("a follow-up can't be about audio: it is gone")
            self._enqueue(recording, more)
            if not more:
                result = recording.task.assemble(answers, recording.seconds or 0.0)
                del self._in_progress[recording.job.index]
                self._events.append(FileDone(recording.job, result, recording.warnings))
        except Exception as error:
            self._fail(recording, error)

    def _fail(self, recording: _RecordingState, error: Exception) -> None:
        self._events.append(FileFailed(recording.job, error))
        recording.failed = True
        if recording.seconds is not None:  # else the thread that cuts it still needs it
            del self._in_progress[recording.job.index]

    def _enqueue(self, recording: _RecordingState, requests: Iterable[Request]) -> None:
        for request in requests:
            self._track_request(recording, request)
            self._queued_requests.append(request)

    def _track_request(self, recording: _RecordingState, request: Request) -> None:
        recording.open_requests[request.id] = recording.request_count
        recording.request_count += 1
        self._open_count += 1


def _drop_samples(answer: Generation) -> Generation:
    """Let go of an answer's audio, and keep its length: answers stay until the recording ends."""
    chunk = answer.request.chunk
    if chunk is None:
        return answer
    silent = chunk.with_silence(len(chunk.samples))
    return replace(answer, request=replace(answer.request, chunk=silent))
