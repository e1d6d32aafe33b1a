"""The engine: recordings are decoded and cut ahead in a thread, answers are put together here.

Nothing is kept of a recording but its chunks under way and its answers, so memory grows neither
with the number of recordings nor with their length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.engine.backend import Backend
from phi4audio_cli.prefetch import prefetch
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
    Samples,
)

CHUNKS_AHEAD = 4
"""Chunks decoded before the backend asks for them; it has a queue of its own."""


def run(
    jobs: Iterable[Job], task: Task, backend: Backend, *, chunk_seconds: float
) -> Iterator[Event]:
    """Do a task on recordings.

    One recording's failure is an event, and the others go on; an error of the backend is raised.

    Args:
        jobs: Taken one at a time, as the backend gets on.
        task: What to ask, and how the answers become one result.
        backend: What answers.
        chunk_seconds: Longest chunk, in seconds.

    Yields:
        `FileStarted` when a recording is opened, `ChunkDone` for each answer, and `FileDone` or
        `FileFailed` once for each recording, as soon as it is known.
    """
    return _Run(jobs, task, backend, chunk_seconds).events()


@dataclass(slots=True)
class _Progress:
    """What is known of one recording under way."""

    job: Job
    answers: list[Generation] = field(default_factory=list)
    expected: int | None = None
    """Number of answers; None until the recording is cut to its end."""
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return len(self.answers) == self.expected


@dataclass(frozen=True, slots=True)
class _Cut:
    """A recording was cut to its end."""

    job: Job
    requests: int
    seconds: float


class _Run:
    def __init__(
        self, jobs: Iterable[Job], task: Task, backend: Backend, chunk_seconds: float
    ) -> None:
        self.jobs = jobs
        self.task = task
        self.backend = backend
        self.chunk_seconds = chunk_seconds
        self.notes: SimpleQueue[FileStarted | FileFailed | _Cut] = SimpleQueue()
        self.under_way: dict[int, _Progress] = {}

    def events(self) -> Iterator[Event]:
        for generation in self.backend.generate(prefetch(self._feed(), CHUNKS_AHEAD)):
            yield from self._noted()
            yield from self._answered(generation)
        yield from self._noted()

    # In the thread that works ahead: it talks to the engine through `notes` only.

    def _feed(self) -> Iterator[Request]:
        for job in self.jobs:
            try:
                yield from self._requests(job)
            except Exception as error:  # whatever a decoder raises costs one recording only
                self.notes.put(FileFailed(job, error))

    def _requests(self, job: Job) -> Iterator[Request]:
        with open_audio(job.source) as recording:
            self.notes.put(FileStarted(job, recording.info.seconds))
            rate = recording.info.sample_rate
            counter = _Counter(recording.blocks())
            count = 0
            for chunk in cut_at_quiet(counter, rate, self.chunk_seconds):
                for request in self.task.requests(job.index, chunk):
                    count += 1
                    yield request
            self.notes.put(_Cut(job, count, counter.samples / rate))

    # In the caller's thread.

    def _noted(self) -> Iterator[Event]:
        while True:
            try:
                note = self.notes.get_nowait()
            except Empty:
                return
            yield from self._take_note(note)

    def _take_note(self, note: FileStarted | FileFailed | _Cut) -> Iterator[Event]:
        if isinstance(note, _Cut):
            progress = self.under_way[note.job.index]
            progress.expected, progress.seconds = note.requests, note.seconds
            yield from self._finished(progress)
            return
        if isinstance(note, FileStarted):
            self.under_way[note.job.index] = _Progress(note.job)
        else:
            self.under_way.pop(note.job.index, None)
        yield note

    def _answered(self, generation: Generation) -> Iterator[Event]:
        progress = self.under_way.get(generation.request.job)
        if progress is None:  # its recording failed meanwhile
            return
        progress.answers.append(generation)
        yield ChunkDone(progress.job, generation)
        yield from self._finished(progress)

    def _finished(self, progress: _Progress) -> Iterator[Event]:
        if progress.complete:
            del self.under_way[progress.job.index]
            answers = sorted(progress.answers, key=lambda answer: answer.request.chunk.index)
            yield FileDone(progress.job, self.task.assemble(answers, progress.seconds))


class _Counter:
    """Counts the samples that pass."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self.blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self.blocks:
            self.samples += len(block)
            yield block
