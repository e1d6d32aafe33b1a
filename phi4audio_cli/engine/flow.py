"""The engine: recordings are read ahead in threads, answers are put together here.

Nothing is kept of a recording but its chunks under way and the text of its answers, so memory
grows neither with the number of recordings nor with their audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.reading import Cutter, ReaderHere
from phi4audio_cli.engine.ahead import ReadingAhead
from phi4audio_cli.engine.backend import Backend, Stop, never
from phi4audio_cli.engine.book import Book
from phi4audio_cli.engine.intake import Intake
from phi4audio_cli.engine.memory import Memory, NoMemory
from phi4audio_cli.engine.reading import Ended, Failed, Heard, Item, Opened, Recordings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Generation, Job, Request, Unanswered


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
        jobs: Taken one at a time, when a reader is free; `next` may wait for more of them.
        task: What to ask, and how the answers become one result; or a function that says it for
            each recording.
        backend: What answers.
        chunk_seconds: Longest chunk, in seconds.
        cut: How recordings are cut for tasks that can do without pauses; the intake's readers, if
            it has any, know it themselves.
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
        ahead = self._reading_ahead()
        try:
            ahead.start()
            for answer in self.backend.generate(self._feed(ahead), self.stop):
                if isinstance(answer, Generation):
                    # First of all: what was told must not be lost.
                    self.memory.record(answer)
                self.book.answered(answer)
                yield from self.book.events()
            yield from self.book.events()
        finally:
            self.book.close()
            ahead.close()

    def _reading_ahead(self) -> ReadingAhead:
        recordings = Recordings(self.task_of, self.intake, self.memory, self.chunk_seconds)
        readers = self.intake.readers or [ReaderHere(self.intake.open, self.cut)]
        return ReadingAhead(self.jobs, recordings.read, readers, self.stop)

    # In the backend's thread, which pulls.

    def _feed(self, ahead: ReadingAhead) -> Iterator[Request | None]:
        holding = False
        """Whether the backend was given anything since the last flush."""
        for item in ahead.items():
            for request in self._ask_about(item):
                if self.stop():
                    return
                holding = True
                yield request
            if self.stop():
                return
            if holding and item is None and ahead.idle:
                # Who gives the jobs may wait for what is done of those before.
                holding = False
                yield None
        if self.stop():
            return
        yield None
        while more := self.book.rest():
            yield from self._unknown(more)
            yield None

    def _ask_about(self, item: Item | None) -> Iterator[Request]:
        """Note what is news of a recording, and yield what the backend must answer now."""
        match item:
            case Opened(job, task, seconds):
                self.book.start(job, task, seconds)
            case Heard(job, _, requests, last):
                for request in requests:
                    self.book.ask(job, request)
                if last:
                    self.book.end(job, last.seconds, last.damage)
                yield from self._unknown(requests)
            case Ended(job, seconds, damage):
                self.book.end(job, seconds, damage)
            case Failed(job, error):
                self.book.fail(job, error)
        # Recordings under way are finished before new ones are begun.
        yield from self._unknown(self.book.waiting())

    def _unknown(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield what the backend must answer; take in what was answered in an earlier run."""
        for request in requests:
            try:
                known = self.memory.recall(request)
            except Exception as error:  # costs its recording only
                self.book.answered(Unanswered(request, error))
                continue
            if known is None:
                yield request
            else:
                self.book.answered(known, recalled=True)
