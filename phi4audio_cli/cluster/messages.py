"""Messages between the driver and its workers, and the protocol of the pool that carries them.

Messages are small and never hold audio.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.types import ChunkDone, Job


@dataclass(frozen=True, slots=True)
class Assignment:
    """Jobs for a worker."""

    jobs: tuple[Job, ...] = ()
    redelivered: frozenset[int] = frozenset()
    """Indexes of the jobs that a lost worker had before."""
    end_of_batch: bool = False
    """Whether no more jobs follow until these are finished."""


@dataclass(frozen=True, slots=True)
class CompactChunkDone:
    """A `ChunkDone` without samples, speech spans and words, for transfer."""

    event: ChunkDone
    num_samples: int
    """Number of the samples left out."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The worker has loaded its model."""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker has ended with an error."""

    error: Exception


WorkerMessage: TypeAlias = RunEvent | Notice | ModelLoaded | WorkerFailed
"""A message of a worker to the driver."""

PackedMessage: TypeAlias = WorkerMessage | CompactChunkDone
"""A message as it is transferred."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker is ready, but has not loaded its model yet."""

    model: str
    """The model's fingerprint."""
    host: str
    """Machine and process of the worker."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The answer of a worker to each call of the driver."""

    messages: tuple[PackedMessage, ...]
    capacity: int
    """Number of further recordings it accepts."""
    idle: bool
    """Whether it has no job."""
    closed: bool
    """Whether it has stopped on request."""


def pack(message: WorkerMessage) -> PackedMessage:
    """Return a message in the form for transfer."""
    if not isinstance(message, ChunkDone):
        return message
    chunk = message.generation.request.chunk
    return CompactChunkDone(_without_audio(message, 0), len(chunk.samples) if chunk else 0)


def unpack(packed: PackedMessage) -> WorkerMessage:
    """Return a transferred message. Chunks keep their length, but are silent."""
    return (
        _without_audio(packed.event, packed.num_samples)
        if isinstance(packed, CompactChunkDone)
        else packed
    )


def _without_audio(event: ChunkDone, num_samples: int) -> ChunkDone:
    request = event.generation.request
    if request.chunk is None:
        return event
    chunk = replace(request.chunk.with_silence(num_samples), speech=())
    compact = replace(request, chunk=chunk)
    # The driver does not use the words, and unpickling a hundred objects is slow.
    return replace(event, generation=replace(event.generation, request=compact, words=()))


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker has ended, or can't be reached."""

    error: Exception
    died: bool
    """Whether its process crashed; else its machine is lost or can't be reached."""


Reply = WorkerReady | WorkerStatus | WorkerLost
"""The result of a call to a worker."""


class WorkerPool(Protocol):
    """Workers in threads, processes or on other machines, identified by their names."""

    def start(self) -> str:
        """Start a worker and return its name; `WorkerReady` follows."""
        ...

    def send(self, worker: str, assignment: Assignment) -> None:
        """Send jobs to a worker; `WorkerStatus` follows when it has messages."""
        ...

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield the replies of workers, after the timeout at the latest."""
        ...

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch, without new jobs."""
        ...

    def kill(self, worker: str) -> None:
        """End a worker immediately; no further reply follows."""
        ...
