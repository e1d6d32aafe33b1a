"""Runs a task on recordings: reader threads read ahead, and answers become events here.

Only the chunks in progress and the texts of the answers are kept, so memory grows neither with the
number of recordings nor with the length of their audio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.audio.reader import Chunker, InProcessReader
from phi4audio_cli.pipeline.answer_store import AnswerStore, NullAnswerStore
from phi4audio_cli.pipeline.backend import Backend, ShouldStop, never_stop
from phi4audio_cli.pipeline.reader_pool import ReaderPool
from phi4audio_cli.pipeline.recording_reader import (
    ChunkRead,
    ReadEvent,
    ReadFailed,
    RecordingEnded,
    RecordingOpened,
    RecordingReader,
    SourceOptions,
)
from phi4audio_cli.pipeline.result_collector import ResultCollector
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Generation, Job, Request, RequestFailed

TaskForJob: TypeAlias = Callable[[Job], Task]
"""Says what to do with a recording."""


class PipelineRunner(Protocol):
    """Does jobs; can be called again when it has done them."""

    def __call__(
        self,
        jobs: Iterable[Job],
        task_of: TaskForJob,
        /,
        *,
        memory: AnswerStore | None,
        stop: ShouldStop,
    ) -> Generator[Event]:
        """Do jobs, as `flow.run` does."""
        ...


def run_pipeline(
    jobs: Iterable[Job],
    task: Task | Callable[[Job], Task],
    backend: Backend,
    *,
    chunk_seconds: float,
    cut: Chunker = chunk_at_silence,
    source_options: SourceOptions | None = None,
    answer_store: AnswerStore | None = None,
    should_stop: ShouldStop = never_stop,
) -> Iterator[Event]:
    """Do a task on recordings.

    One recording's failure is an event, and the others go on; an error of the backend is raised.

    Args:
        jobs: Taken one at a time, when a reader is free; `push` may wait for more of them.
        task: What to ask, and how the answers become one result; or a function that says it for
            each recording.
        backend: What answers.
        chunk_seconds: Longest chunk, in seconds.
        cut: How recordings are cut for tasks that can do without pauses; the intake's readers, if
            it has any, know it themselves.
        source_options: How recordings are opened; None: files, all channels as one.
        answer_store: What an earlier run left; None: nothing, and nothing is kept of this one.
        should_stop: Once it says so nothing new is begun, and the events end with the running batch.

    Yields:
        `FileStarted` when a recording is opened, `ChunkDone` for each answer, and `FileDone` or
        `FileFailed` once for each recording, as soon as it is known; of those that `should_stop` cuts
        off, neither.
    """
    task_of = (lambda job: task) if isinstance(task, Task) else task
    whole = _PipelineRun(jobs, task_of, backend, chunk_seconds, cut, source_options or SourceOptions(),
                 answer_store or NullAnswerStore(), should_stop)  # fmt: skip
    return whole.events()


@dataclass(frozen=True, slots=True)
class _PipelineRun:
    jobs: Iterable[Job]
    task_of: Callable[[Job], Task]
    backend: Backend
    chunk_seconds: float
    cut: Chunker
    source_options: SourceOptions
    answer_store: AnswerStore
    should_stop: ShouldStop
    collector: ResultCollector = field(default_factory=ResultCollector)

    def events(self) -> Iterator[Event]:
        ahead = self._make_reader_pool()
        try:
            ahead.start()
            for answer in self.backend.generate(self._requests(ahead), self.should_stop):
                if isinstance(answer, Generation):
                    # First of all: what was told must not be lost.
                    self.answer_store.store(answer)
                self.collector.add_answer(answer)
                yield from self.collector.pop_events()
            yield from self.collector.pop_events()
        finally:
            self.collector.close()
            ahead.close()

    def _make_reader_pool(self) -> ReaderPool:
        recordings = RecordingReader(
            self.task_of, self.source_options, self.answer_store, self.chunk_seconds
        )
        readers = self.source_options.readers or [
            InProcessReader(self.source_options.open, self.cut)
        ]
        return ReaderPool(self.jobs, recordings.read, readers, self.should_stop)

    # In the backend's thread, which pulls.

    def _requests(self, reader_pool: ReaderPool) -> Iterator[Request | None]:
        holding = False
        """Whether the backend was given anything since the last flush."""
        for item in reader_pool.items():
            for request in self._handle_read_event(item):
                if self.should_stop():
                    return
                holding = True
                yield request
            if self.should_stop():
                return
            if holding and item is None and reader_pool.idle:
                # Who gives the jobs may wait for what is done of those before.
                holding = False
                yield None
        if self.should_stop():
            return
        yield None
        while more := self.collector.wait_and_pop_requests():
            yield from self._without_stored_answers(more)
            yield None

    def _handle_read_event(self, event: ReadEvent | None) -> Iterator[Request]:
        """Note what is news of a recording, and yield what the backend must answer now."""
        match event:
            case RecordingOpened(job, task, seconds):
                self.collector.add_recording(job, task, seconds)
            case ChunkRead(job, _, requests, last):
                for request in requests:
                    self.collector.add_request(job, request)
                if last:
                    self.collector.end_recording(job, last.seconds, last.damage)
                yield from self._without_stored_answers(requests)
            case RecordingEnded(job, seconds, damage):
                self.collector.end_recording(job, seconds, damage)
            case ReadFailed(job, error):
                self.collector.fail_recording(job, error)
        # Recordings under way are finished before new ones are begun.
        yield from self._without_stored_answers(self.collector.pop_requests())

    def _without_stored_answers(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield what the backend must answer; take in what was answered in an earlier run."""
        for request in requests:
            try:
                known = self.answer_store.lookup(request)
            except Exception as error:  # costs its recording only
                self.collector.add_answer(RequestFailed(request, error))
                continue
            if known is None:
                yield request
            else:
                self.collector.add_answer(known, resumed=True)
