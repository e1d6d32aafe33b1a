"""Reads one recording: yields its chunks with their requests, and its end or failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from phi4audio_cli.audio.reader import (
    InProcessReader,
    RaiseIfCancelled,
    Reader,
    Reading,
    ReadRequest,
)
from phi4audio_cli.jobs.download import FetchRecording
from phi4audio_cli.pipeline.answer_store import AnswerStore
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Channel, Chunk, Job, Request

ChannelSelection: TypeAlias = Channel | Literal["split"]
"""A channel; `split`: left and right, one after the other, as two speakers."""

ChannelSpec: TypeAlias = tuple[Channel, str | None]
"""A channel to read, and its speaker; None: the channel is not one speaker's."""

TaskForJob: TypeAlias = Callable[[Job], Task]
"""Returns the task of a recording."""


def use_local_file(job: Job) -> AbstractContextManager[Path]:
    """Return the recording's own path."""
    return nullcontext(job.source)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How recordings are fetched and read, and which of their channels."""

    readers: Sequence[Reader]
    """As many recordings are read at the same time as there are readers, at least one."""
    array_reader: Reader = field(default_factory=InProcessReader)
    """Reads recordings in memory, in the thread of any reader."""
    fetch: FetchRecording = use_local_file
    channels: ChannelSelection = "mix"
    track: int | None = None
    """Audio stream of a container, from 0; None: the first."""

    @property
    def channel_specs(self) -> tuple[ChannelSpec, ...]:
        """The channels to read, one after the other."""
        if self.channels == "split":
            return (("left", "left"), ("right", "right"))
        return ((self.channels, None),)


class RunCancelledError(Exception):
    """The run ends; nothing more is started."""


@dataclass(frozen=True, slots=True)
class RecordingOpened:
    """A recording was opened."""

    job: Job
    task: Task
    seconds: float | None
    """Length by the container's header; None if unknown."""


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A recording was read to its end."""

    job: Job
    seconds: float
    damage: tuple[str, ...]
    audible_seconds: float = 0.0
    """Length of its audio that is not silence."""


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk was read, with the requests about it."""

    job: Job
    chunk: Chunk
    requests: tuple[Request, ...]
    end: RecordingEnded | None = None
    """The end of the recording, with its last chunk."""


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """A recording can't be read, or not to its end."""

    job: Job
    error: Exception


ReadEvent: TypeAlias = RecordingOpened | ChunkRead | RecordingEnded | ReadFailed


@dataclass(frozen=True, slots=True)
class RecordingReader:
    """Reads recordings; one object serves all reader threads.

    Args:
        task_for_job: The task of each recording.
        source_options: How recordings are fetched and read.
        answer_store: Notified of each recording that is opened.
        max_chunk_seconds: Longest chunk.
    """

    task_for_job: TaskForJob
    source_options: SourceOptions
    answer_store: AnswerStore
    max_chunk_seconds: float

    def read(
        self, job: Job, reader: Reader, raise_if_cancelled: RaiseIfCancelled
    ) -> Iterator[ReadEvent]:
        """Read a recording: `RecordingOpened`, then each `ChunkRead`; at any point `ReadFailed`.

        The end comes with the last chunk, or as `RecordingEnded` where there is no chunk.

        Args:
            job: The recording.
            reader: Reads its file.
            raise_if_cancelled: Called at least once a block; raises `RunCancelledError` where the
                run ends.

        Raises:
            RunCancelledError: The run ends.
        """
        state = _ReadState()
        try:
            with self._fetch(job) as source:
                self.answer_store.open_recording(job, source)
                task = self.task_for_job(job)
                for channel, speaker in self.source_options.channel_specs:
                    request = self._read_request(job, source, channel, task)
                    with self._reader_for(job, reader).read(request, raise_if_cancelled) as reading:
                        yield from _read_channel(job, task, reading, speaker, state)
            yield from state.finish(job)
        except RunCancelledError:
            raise
        except Exception as error:  # any exception of a decoder fails one recording only
            yield from state.push(None)
            yield ReadFailed(job, error)

    def _fetch(self, job: Job) -> AbstractContextManager[Path]:
        return use_local_file(job) if job.audio is not None else self.source_options.fetch(job)

    def _reader_for(self, job: Job, reader: Reader) -> Reader:
        return reader if job.audio is None else self.source_options.array_reader

    def _read_request(self, job: Job, source: Path, channel: Channel, task: Task) -> ReadRequest:
        return ReadRequest(
            source,
            self.max_chunk_seconds,
            channel,
            self.source_options.track,
            task.keep_pauses,
            job.audio,
        )


@dataclass(slots=True)
class _ReadState:
    """Progress of a recording's channels; the last chunk is held back."""

    opened: bool = False
    pending_chunk: ChunkRead | None = None
    chunk_count: int = 0
    seconds: float = 0.0
    audible_seconds: float = 0.0
    damage: list[str] = field(default_factory=list)

    def push(self, chunk: ChunkRead | None) -> Iterator[ChunkRead]:
        """Hold a chunk back, and yield the one before."""
        if self.pending_chunk is not None:
            yield self.pending_chunk
        self.pending_chunk = chunk

    def finish(self, job: Job) -> Iterator[ChunkRead | RecordingEnded]:
        """Yield the last chunk with the end."""
        ended = RecordingEnded(job, self.seconds, tuple(self.damage), self.audible_seconds)
        yield replace(self.pending_chunk, end=ended) if self.pending_chunk else ended

    def end_channel(self, reading: Reading) -> None:
        self.seconds = max(self.seconds, reading.seconds)
        self.audible_seconds = max(self.audible_seconds, reading.audible_seconds)
        if reading.damage and reading.damage not in self.damage:
            self.damage.append(reading.damage)


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
    state.end_channel(reading)
