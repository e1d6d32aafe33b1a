"""Reads one recording: opens it, yields its chunks with their requests, and reports its end or failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from phi4audio_cli.audio.decode import OpenAudio, open_audio
from phi4audio_cli.audio.reader import RaiseIfCancelled, Reader, Reading, ReadRequest
from phi4audio_cli.pipeline.answer_store import AnswerStore
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Channel, Chunk, Job, Request

ChannelSelection: TypeAlias = Channel | Literal["split"]
"""A channel; `split_ranges`: left and right, one after the other, each with a speaker of its own."""

ChannelSpec: TypeAlias = tuple[Channel, str | None]
"""A channel to hear, and who speaks on it; None: it is not one speaker's."""

FetchRecording: TypeAlias = Callable[[Job], AbstractContextManager[Path]]
"""Gives the file of a recording for as long as it is needed."""


def use_local_file(job: Job) -> AbstractContextManager[Path]:
    """Take a recording where it lies."""
    return nullcontext(job.source)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What is heard of a recording, and how."""

    fetch: FetchRecording = use_local_file
    open: OpenAudio = open_audio
    """How they are opened where there are no readers: then they are read in this process."""
    channels: ChannelSelection = "mix"
    track: int | None = None
    """Which audio stream of a container, from 0; None: the first."""
    readers: Sequence[Reader] = ()
    """What reads them: as many at the same time as there are readers."""

    @property
    def channel_specs(self) -> tuple[ChannelSpec, ...]:
        """What is heard, one after the other."""
        if self.channels == "split":
            return (("left", "left"), ("right", "right"))
        return ((self.channels, None),)


class RunCancelledError(Exception):
    """Nothing more is to be begun."""


@dataclass(frozen=True, slots=True)
class RecordingOpened:
    """A recording was opened."""

    job: Job
    task: Task
    seconds: float | None
    """Length by the container's header; None where it doesn't say."""


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """It was read to its end."""

    job: Job
    seconds: float
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk of it, and what is asked about it."""

    job: Job
    chunk: Chunk
    requests: tuple[Request, ...]
    end: RecordingEnded | None = None
    """The end, with the last chunk: when that is answered, nothing is waited for any more."""


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """It can't be read, or not to its end."""

    job: Job
    error: Exception


ReadEvent: TypeAlias = RecordingOpened | ChunkRead | RecordingEnded | ReadFailed


@dataclass(frozen=True, slots=True)
class RecordingReader:
    """How recordings are read; one object serves all threads.

    Args:
        task_of: What to do with each.
        intake: How they are got at, and what is heard of them.
        memory: Told whose turn has come.
        limit_seconds: Longest chunk.
    """

    task_of: Callable[[Job], Task]
    source_options: SourceOptions
    answer_store: AnswerStore
    max_chunk_seconds: float

    def read(self, job: Job, reader: Reader, check: RaiseIfCancelled) -> Iterator[ReadEvent]:
        """Read a recording: `RecordingOpened`, then each `Heard`; or `ReadFailed` at any place.

        The end comes with the last chunk, as `RecordingEnded` where there is none.

        Args:
            job: The recording.
            reader: What reads it.
            check: Called once a block at least; raises `RunCancelledError` where the run is to end.

        Raises:
            StoppedError: The run is to end.
        """
        heard = _ReadState()
        try:
            with self.source_options.fetch(job) as source:
                self.answer_store.open_recording(job, source)
                task = self.task_of(job)
                for channel, speaker in self.source_options.channel_specs:
                    wanted = ReadRequest(source, self.max_chunk_seconds, channel, self.source_options.track,
                                    task.keep_pauses)  # fmt: skip
                    with reader.read(wanted, check) as reading:
                        yield from _read_channel(job, task, reading, speaker, heard)
            yield from heard.finish(job)
        except RunCancelledError:
            raise
        except Exception as error:  # whatever a decoder raises costs one recording only
            yield from heard.push(None)
            yield ReadFailed(job, error)


@dataclass(slots=True)
class _ReadState:
    """What came of a recording's channels so far; the last chunk is held back."""

    opened: bool = False
    pending_chunk: ChunkRead | None = None
    chunk_count: int = 0
    seconds: float = 0.0
    damage: list[str] = field(default_factory=list)

    def push(self, chunk: ChunkRead | None) -> Iterator[ChunkRead]:
        """Hold a chunk back, and yield the one before."""
        if self.pending_chunk is not None:
            yield self.pending_chunk
        self.pending_chunk = chunk

    def finish(self, job: Job) -> Iterator[ChunkRead | RecordingEnded]:
        """Yield the last chunk with the end."""
        ended = RecordingEnded(job, self.seconds, tuple(self.damage))
        yield replace(self.pending_chunk, end=ended) if self.pending_chunk else ended

    def end_channel(self, seconds: float, damage: str | None) -> None:
        self.seconds = max(self.seconds, seconds)
        if damage and damage not in self.damage:
            self.damage.append(damage)


def _read_channel(
    job: Job, task: Task, reading: Reading, speaker: str | None, state: _ReadState
) -> Iterator[ReadEvent]:
    if not state.opened:
        state.opened = True
        yield RecordingOpened(job, task, reading.info.seconds)
    for each in reading.chunks():
        chunk = replace(each, index=state.chunk_count, speaker=speaker)
        yield from state.push(ChunkRead(job, chunk, tuple(task.requests(job.index, chunk))))
        state.chunk_count += 1
    state.end_channel(reading.seconds, reading.damage)
