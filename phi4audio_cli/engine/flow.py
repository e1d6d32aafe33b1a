"""The engine: recordings are decoded and cut ahead in a thread, answers are put together here.

Nothing is kept of a recording but its chunks under way and the text of its answers, so memory
grows neither with the number of recordings nor with their audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.engine.backend import Backend
from phi4audio_cli.engine.book import Book
from phi4audio_cli.prefetch import prefetch
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Chunk, Event, Job, Request, Samples

CHUNKS_AHEAD = 4
"""Chunks decoded before the backend asks for them; it has a queue of its own."""

Cutter: TypeAlias = Callable[[Iterable[Samples], int, float], Iterator[Chunk]]
"""From blocks, their sample rate in Hz and the longest chunk in seconds to chunks."""


def run(
    jobs: Iterable[Job],
    task: Task,
    backend: Backend,
    *,
    chunk_seconds: float,
    cut: Cutter = cut_at_quiet,
) -> Iterator[Event]:
    """Do a task on recordings.

    One recording's failure is an event, and the others go on; an error of the backend is raised.

    Args:
        jobs: Taken one at a time, as the backend gets on.
        task: What to ask, and how the answers become one result.
        backend: What answers.
        chunk_seconds: Longest chunk, in seconds.
        cut: How recordings are cut for tasks that can do without pauses.

    Yields:
        `FileStarted` when a recording is opened, `ChunkDone` for each answer, and `FileDone` or
        `FileFailed` once for each recording, as soon as it is known.
    """
    return _Run(jobs, task, backend, chunk_seconds, cut).events()


class _Run:
    def __init__(
        self,
        jobs: Iterable[Job],
        task: Task,
        backend: Backend,
        chunk_seconds: float,
        cut: Cutter,
    ) -> None:
        self.jobs = jobs
        self.task = task
        self.backend = backend
        self.chunk_seconds = chunk_seconds
        self.cut = cut_at_quiet if task.keep_pauses else cut
        self.book = Book(task)

    def events(self) -> Iterator[Event]:
        try:
            for answer in self.backend.generate(prefetch(self._feed(), CHUNKS_AHEAD)):
                self.book.answered(answer)
                yield from self.book.events()
            yield from self.book.events()
        finally:
            self.book.close()

    # In the thread that works ahead.

    def _feed(self) -> Iterator[Request | None]:
        for job in self.jobs:
            try:
                yield from self._requests(job)
            except Exception as error:  # whatever a decoder raises costs one recording only
                self.book.fail(job, error)
        yield None
        while more := self.book.rest():
            yield from more
            yield None

    def _requests(self, job: Job) -> Iterator[Request]:
        with open_audio(job.source) as recording:
            self.book.start(job, recording.info.seconds)
            rate = recording.info.sample_rate
            counter = _Counter(recording.blocks())
            for chunk in self.cut(counter, rate, self.chunk_seconds):
                for request in self.task.requests(job.index, chunk):
                    self.book.ask(job, request)
                    yield request
                # Recordings under way are finished before new ones are begun.
                yield from self.book.waiting()
            self.book.end(job, counter.samples / rate)


class _Counter:
    """Counts the samples that pass."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self.blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self.blocks:
            self.samples += len(block)
            yield block
