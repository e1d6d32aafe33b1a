"""Runs a task on recordings: reader threads read ahead, and answers become events here.

Only the chunks in progress and the texts of the answers are kept, so memory grows neither with the
number of recordings nor with the length of their audio.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

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
    TaskForJob,
)
from phi4audio_cli.pipeline.result_collector import ResultCollector
from phi4audio_cli.types import Event, Generation, Job, Request, RequestFailed


def run_pipeline(
    jobs: Iterable[Job],
    task_for_job: TaskForJob,
    backend: Backend,
    *,
    chunk_seconds: float,
    source_options: SourceOptions,
    answer_store: AnswerStore | None = None,
    should_stop: ShouldStop = never_stop,
) -> Generator[Event]:
    """Run a task on recordings.

    A recording that fails is an event, and the others continue; an error of the backend is raised.

    Args:
        jobs: Taken one at a time, when a reader is free; `next` may wait for more of them.
        task_for_job: The requests to make, and how the answers become one result.
        backend: Answers the requests.
        chunk_seconds: Longest chunk, in seconds.
        source_options: How recordings are fetched and read.
        answer_store: Answers of an earlier run; None: none, and answers are not stored.
        should_stop: Once it returns True, no request is started, and the events end with the
            running batch.

    Yields:
        `FileStarted` when a recording is opened, `ChunkDone` for each answer, and `FileDone` or
        `FileFailed` once for each recording; neither for recordings that `should_stop` cuts off.
    """
    return _PipelineRun(
        jobs,
        task_for_job,
        backend,
        chunk_seconds,
        source_options,
        answer_store or NullAnswerStore(),
        should_stop,
    ).events()


@dataclass(frozen=True, slots=True)
class _PipelineRun:
    jobs: Iterable[Job]
    task_for_job: TaskForJob
    backend: Backend
    chunk_seconds: float
    source_options: SourceOptions
    answer_store: AnswerStore
    should_stop: ShouldStop
    collector: ResultCollector = field(default_factory=ResultCollector)

    def events(self) -> Generator[Event]:
        reader_pool = self._make_reader_pool()
        try:
            reader_pool.start()
            for answer in self.backend.generate(self._requests(reader_pool), self.should_stop):
                if isinstance(answer, Generation):
                    # Stored before it becomes an event: a reported answer must not be lost.
                    self.answer_store.store(answer)
                self.collector.add_answer(answer)
                yield from self.collector.pop_events()
            yield from self.collector.pop_events()
        finally:
            self.collector.close()
            reader_pool.close()

    def _make_reader_pool(self) -> ReaderPool:
        recording_reader = RecordingReader(
            self.task_for_job, self.source_options, self.answer_store, self.chunk_seconds
        )
        readers = self.source_options.readers
        return ReaderPool(self.jobs, recording_reader.read, readers, self.should_stop)

    # In the backend's thread, which pulls requests.

    def _requests(self, reader_pool: ReaderPool) -> Iterator[Request | None]:
        unflushed = False
        """Whether the backend got a request since the last flush."""
        for item in reader_pool.items():
            for request in self._handle_read_event(item):
                if self.should_stop():
                    return
                unflushed = True
                yield request
            if self.should_stop():
                return
            if unflushed and item is None and reader_pool.idle:
                # The source of the jobs may wait for the results of the jobs before.
                unflushed = False
                yield None
        if self.should_stop():
            return
        yield None
        while more := self.collector.wait_and_pop_requests():
            yield from self._without_stored_answers(more)
            yield None

    def _handle_read_event(self, event: ReadEvent | None) -> Iterator[Request]:
        """Update the collector, and yield the requests for the backend."""
        match event:
            case RecordingOpened(job, task, seconds):
                self.collector.add_recording(job, task, seconds)
            case ChunkRead(job, _, requests, last):
                for request in requests:
                    self.collector.add_request(job, request)
                if last:
                    self.collector.end_recording(last)
                yield from self._without_stored_answers(requests)
            case RecordingEnded():
                self.collector.end_recording(event)
            case ReadFailed(job, error):
                self.collector.fail_recording(job, error)
        # Requests of recordings in progress come before those of new ones.
        yield from self._without_stored_answers(self.collector.pop_requests())

    def _without_stored_answers(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield the requests for the backend; add the stored answers to the others."""
        for request in requests:
            try:
                known = self.answer_store.lookup(request)
            except Exception as error:  # fails its recording only
                self.collector.add_answer(RequestFailed(request, error))
                continue
            if known is None:
                yield request
            else:
                self.collector.add_answer(known, resumed=True)
