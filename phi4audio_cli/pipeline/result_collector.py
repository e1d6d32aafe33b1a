"""Open requests and answers of the recordings in recording.

Two threads use it: one feeds requests to the backend, and the caller's adds answers.
The thread that completes a recording assembles its result.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from phi4audio_cli.pipeline.recording_reader import RecordingEnded
from phi4audio_cli.tasks.quality import no_text_warnings
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
    Result,
)


@dataclass(slots=True)
class _RecordingState:
    """Requests and answers of one recording."""

    job: Job
    task: Task
    open_requests: dict[int, int] = field(default_factory=dict)
    """From the id of each request without an answer to its place in the order of requests."""
    answers: list[tuple[int, Generation]] = field(default_factory=list)
    request_count: int = 0
    seconds: float | None = None
    """Length; None until the recording is read to its end."""
    ended: RecordingEnded | None = None
    failed: bool = False
    """Its failure is an event already; the state stays until it is read to its end."""

    @property
    def complete(self) -> bool:
        return self.seconds is not None and not self.open_requests and not self.failed

    def warnings(self, result: Result) -> tuple[str, ...]:
        """Return the warnings that the audio gives rise to."""
        if self.ended is None:
            return ()
        return (*self.ended.damage, *no_text_warnings(result, self.ended.audible_seconds))

    def answers_in_order(self) -> list[Generation]:
        return [answer for _, answer in sorted(self.answers, key=lambda entry: entry[0])]


class ResultCollector:
    """Collects the answers of each recording, and assembles its result when all are there.

    The methods of a recording's task are called under the lock.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._in_progress: dict[int, _RecordingState] = {}
        self._events: deque[Event] = deque()
        self._queued_requests: deque[Request] = deque()
        self._open_count = 0
        self._closed = False

    # Called by the thread that feeds the backend.

    def add_recording(self, job: Job, task: Task, seconds: float | None) -> None:
        """Add a recording that was opened; `seconds` is its length by the header."""
        with self._condition:
            self._in_progress[job.index] = _RecordingState(job, task)
            self._events.append(FileStarted(job, seconds))

    def add_request(self, job: Job, request: Request) -> None:
        """Add a request that goes to the backend."""
        with self._condition:
            self._track_request(self._in_progress[job.index], request)

    def end_recording(self, ended: RecordingEnded) -> None:
        """Set the length and the damage of a recording that was read to its end."""
        with self._condition:
            recording = self._in_progress[ended.job.index]
            recording.seconds = ended.seconds
            recording.ended = ended
            if recording.failed:
                del self._in_progress[ended.job.index]
            self._advance(recording)

    def fail_recording(self, job: Job, error: Exception) -> None:
        """Fail a recording that can't be read further; its later answers are dropped."""
        with self._condition:
            recording = self._in_progress.pop(job.index, None)
            if recording is None or not recording.failed:
                self._events.append(FileFailed(job, error))

    def pop_requests(self) -> list[Request]:
        """Return and remove the requests of retries and follow-ups."""
        with self._condition:
            queued = list(self._queued_requests)
            self._queued_requests.clear()
            return queued

    def wait_and_pop_requests(self) -> list[Request]:
        """Wait until all requests of the backend are answered, then return the queued ones.

        Returns:
            An empty list when everything is done, or the run ended.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or self._open_count == len(self._queued_requests)
            )
            return [] if self._closed else self.pop_requests()

    # Called by the caller's thread; for stored answers, by the thread that feeds the backend.

    def add_answer(self, answer: Generation | RequestFailed, *, resumed: bool = False) -> None:
        """Add an answer; its recording fails if the request failed.

        Args:
            answer: To an open request.
            resumed: Whether it is an earlier run's.

        Raises:
            ValueError: The request is not open: the backend's mistake.
        """
        with self._condition:
            self._open_count -= 1
            recording = self._in_progress.get(answer.request.job)
            if recording is not None:  # else the recording has failed
                self._apply_answer(recording, answer, resumed)
            self._condition.notify_all()

    def pop_events(self) -> Iterator[Event]:
        """Yield and remove the new events."""
        while self._events:
            yield self._events.popleft()

    def close(self) -> None:
        """Wake all waiting threads: the run ended."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    # Called under the lock.

    def _apply_answer(
        self, recording: _RecordingState, answer: Generation | RequestFailed, resumed: bool
    ) -> None:
        order = recording.open_requests.pop(answer.request.id, None)
        if order is None:
            raise ValueError("the backend answered a request that was not open")
        if recording.failed:
            return
        if isinstance(answer, RequestFailed):
            self._fail(recording, answer.error)
            return
        self._events.append(ChunkDone(recording.job, answer, resumed))
        recording.answers.append((order, _drop_samples(answer)))
        try:
            self._enqueue(recording, recording.task.retry(answer))
        except Exception as error:  # it must not fail other recordings
            self._fail(recording, error)
        else:
            self._advance(recording)

    def _advance(self, recording: _RecordingState) -> None:
        """Queue the follow-ups, or assemble the result, if all answers are there."""
        if not recording.complete:
            return
        answers = recording.answers_in_order()
        try:
            requests = recording.task.follow_up(answers)
            if any(request.chunk is not None for request in requests):
                raise ValueError("a follow-up can't have a chunk: its audio is released")
            self._enqueue(recording, requests)
            if not requests:
                result = recording.task.assemble(answers, recording.seconds or 0.0)
                del self._in_progress[recording.job.index]
                self._events.append(FileDone(recording.job, result, recording.warnings(result)))
        except Exception as error:
            self._fail(recording, error)

    def _fail(self, recording: _RecordingState, error: Exception) -> None:
        self._events.append(FileFailed(recording.job, error))
        recording.failed = True
        if recording.seconds is not None:  # else the thread that reads it still needs it
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
    """Replace an answer's audio by silence of its length: answers stay until the recording ends."""
    chunk = answer.request.chunk
    if chunk is None:
        return answer
    silent = chunk.with_silence(len(chunk.samples))
    return replace(answer, request=replace(answer.request, chunk=silent))
