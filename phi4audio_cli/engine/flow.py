"""The engine: recordings are decoded and cut ahead in a thread, answers are put together here.

Nothing is kept of a recording but its chunks under way and the text of its answers, so memory
grows neither with the number of recordings nor with their audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.decode import OpenedAudio
from phi4audio_cli.engine.backend import Backend, Stop, never
from phi4audio_cli.engine.book import Book
from phi4audio_cli.engine.intake import Counted, Intake
from phi4audio_cli.engine.memory import Memory, NoMemory
from phi4audio_cli.prefetch import prefetch
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Chunk, Event, Generation, Job, Request, Samples

CHUNKS_AHEAD = 4
"""Chunks decoded before the backend asks for them; it has a queue of its own."""

Cutter: TypeAlias = Callable[[Iterable[Samples], int, float], Iterator[Chunk]]
"""From blocks, their sample rate in Hz and the longest chunk in seconds to chunks."""


def run(
    jobs: Iterable[Job],
    task: Task | Callable[[Job], Task],
    backend: Backend,
    *,
    chunk_seconds: float,
    cut: Cutter = cut_at_quiet,
    intake: Intake | None = None,
    memory: Memory | None = None,
    stop: Stop = never,
) -> Iterator[Event]:
    """Do a task on recordings.

    One recording's failure is an event, and the others go on; an error of the backend is raised.

    Args:
        jobs: Taken one at a time, as the backend gets on.
        task: What to ask, and how the answers become one result; or a function that says it for
            each recording.
        backend: What answers.
        chunk_seconds: Longest chunk, in seconds.
        cut: How recordings are cut for tasks that can do without pauses.
        intake: How recordings are opened; None: files, all channels as one.
        memory: What an earlier run left; None: nothing, and nothing is kept of this one.
        stop: Once it says so nothing new is begun, and the events end with the running batch.

    Yields:
        `FileStarted` when a recording is opened, `ChunkDone` for each answer, and `FileDone` or
        `FileFailed` once for each recording, as soon as it is known; of those that `stop` cuts
        off, neither.
    """
    task_of = (lambda job: task) if isinstance(task, Task) else task
    whole = _Run(jobs, task_of, backend, chunk_seconds, cut, intake or Intake(),
                 memory or NoMemory(), stop)  # fmt: skip
    return whole.events()


class _StoppedError(Exception):
    """Nothing more is to be begun."""


@dataclass(frozen=True, slots=True)
class _Run:
    jobs: Iterable[Job]
    task_of: Callable[[Job], Task]
    backend: Backend
    chunk_seconds: float
    cut: Cutter
    intake: Intake
    memory: Memory
    stop: Stop
    book: Book = field(default_factory=Book)

    def events(self) -> Iterator[Event]:
        feed = prefetch(self._feed(), CHUNKS_AHEAD)
        try:
            for answer in self.backend.generate(feed, self.stop):
                if isinstance(answer, Generation):
                    # First of all: what was told must not be lost.
                    self.memory.record(answer)
                self.book.answered(answer)
                yield from self.book.events()
            yield from self.book.events()
        finally:
            self.book.close()

    # In the thread that works ahead.

    def _feed(self) -> Iterator[Request | None]:
        try:
            for job in self.jobs:
                self._check()
                yield from self._recording(job)
            yield None
            while more := self.book.rest():
                yield from self._unknown(more)
                yield None
        except _StoppedError:
            return

    def _check(self) -> None:
        if self.stop():
            raise _StoppedError

    def _recording(self, job: Job) -> Iterator[Request]:
        try:
            with self.intake.fetch(job) as source:
                self.memory.begin(job, source)
                heard = _Heard()
                for channel, speaker in self.intake.voices:
                    opened = self.intake.open(source, channel=channel, track=self.intake.track)
                    with opened as recording:
                        yield from self._requests(job, recording, speaker, heard)
                self.book.end(job, heard.seconds, tuple(heard.damage))
        except _StoppedError:
            raise
        except Exception as error:  # whatever a decoder raises costs one recording only
            self.book.fail(job, error)

    def _requests(
        self, job: Job, recording: OpenedAudio, speaker: str | None, heard: _Heard
    ) -> Iterator[Request]:
        task, info = self.task_of(job), recording.info
        if not heard.began:
            heard.began = True
            self.book.start(job, task, info.seconds)
        blocks = Counted(recording.blocks(), self._check)
        cut = cut_at_quiet if task.keep_pauses else self.cut
        for each in cut(blocks, info.sample_rate, self.chunk_seconds):
            self._check()
            chunk = replace(each, index=heard.chunks, speaker=speaker)
            heard.chunks += 1
            for request in task.requests(job.index, chunk):
                self.book.ask(job, request)
                yield from self._unknown([request])
            # Recordings under way are finished before new ones are begun.
            yield from self._unknown(self.book.waiting())
        heard.add(blocks.samples / info.sample_rate, recording.damage)

    def _unknown(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield what the backend must answer; take in what was answered in an earlier run."""
        for request in requests:
            if (known := self.memory.recall(request)) is None:
                yield request
            else:
                self.book.answered(known, recalled=True)


@dataclass(slots=True)
class _Heard:
    """What came of a recording's channels so far."""

    began: bool = False
    chunks: int = 0
    seconds: float = 0.0
    damage: list[str] = field(default_factory=list)

    def add(self, seconds: float, damage: str | None) -> None:
        self.seconds = max(self.seconds, seconds)
        if damage and damage not in self.damage:
            self.damage.append(damage)
