"""One recording as the engine gets it: opened, its chunks in order, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from phi4audio_cli.audio.reading import Check, Reader, Reading, Wanted
from phi4audio_cli.engine.intake import Intake
from phi4audio_cli.engine.memory import Memory
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Chunk, Job, Request


class StoppedError(Exception):
    """Nothing more is to be begun."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording was opened."""

    job: Job
    task: Task
    seconds: float | None
    """Length by the container's header; None where it doesn't say."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It was read to its end."""

    job: Job
    seconds: float
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk of it, and what is asked about it."""

    job: Job
    chunk: Chunk
    requests: tuple[Request, ...]
    last: Ended | None = None
    """The end, with the last chunk: when that is answered, nothing is waited for any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It can't be read, or not to its end."""

    job: Job
    error: Exception


Item: TypeAlias = Opened | Heard | Ended | Failed


@dataclass(frozen=True, slots=True)
class Recordings:
    """How recordings are read; one object serves all threads.

    Args:
        task_of: What to do with each.
        intake: How they are got at, and what is heard of them.
        memory: Told whose turn has come.
        limit_seconds: Longest chunk.
    """

    task_of: Callable[[Job], Task]
    intake: Intake
    memory: Memory
    limit_seconds: float

    def read(self, job: Job, reader: Reader, check: Check) -> Iterator[Item]:
        """Read a recording: `Opened`, then each `Heard`; or `Failed` at any place.

        The end comes with the last chunk, as `Ended` where there is none.

        Args:
            job: The recording.
            reader: What reads it.
            check: Called once a block at least; raises `StoppedError` where the run is to end.

        Raises:
            StoppedError: The run is to end.
        """
        heard = _SoFar()
        try:
            with self.intake.fetch(job) as source:
                self.memory.begin(job, source)
                task = self.task_of(job)
                for channel, speaker in self.intake.voices:
                    wanted = Wanted(source, self.limit_seconds, channel, self.intake.track,
                                    task.keep_pauses)  # fmt: skip
                    with reader.read(wanted, check) as reading:
                        yield from _voice(job, task, reading, speaker, heard)
            yield from heard.end(job)
        except StoppedError:
            raise
        except Exception as error:  # whatever a decoder raises costs one recording only
            yield from heard.next(None)
            yield Failed(job, error)


@dataclass(slots=True)
class _SoFar:
    """What came of a recording's channels so far; the last chunk is held back."""

    began: bool = False
    held: Heard | None = None
    chunks: int = 0
    seconds: float = 0.0
    damage: list[str] = field(default_factory=list)

    def next(self, chunk: Heard | None) -> Iterator[Heard]:
        """Hold a chunk back, and yield the one before."""
        if self.held is not None:
            yield self.held
        self.held = chunk

    def end(self, job: Job) -> Iterator[Heard | Ended]:
        """Yield the last chunk with the end."""
        ended = Ended(job, self.seconds, tuple(self.damage))
        yield replace(self.held, last=ended) if self.held else ended

    def add(self, seconds: float, damage: str | None) -> None:
        self.seconds = max(self.seconds, seconds)
        if damage and damage not in self.damage:
            self.damage.append(damage)


def _voice(
    job: Job, task: Task, reading: Reading, speaker: str | None, heard: _SoFar
) -> Iterator[Item]:
    if not heard.began:
        heard.began = True
        yield Opened(job, task, reading.info.seconds)
    for each in reading.chunks():
        chunk = replace(each, index=heard.chunks, speaker=speaker)
        yield from heard.next(Heard(job, chunk, tuple(task.requests(job.index, chunk))))
        heard.chunks += 1
    heard.add(reading.seconds, reading.damage)
