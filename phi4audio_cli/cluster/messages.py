"""Messages between the driver and its workers, and the protocol of the pool that carries them.

Messages are small and never hold audio.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.types import ChunkDone, Job


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker gets."""

    jobs: tuple[Job, ...] = ()
    redelivered: frozenset[int] = frozenset()
    """Index of those that a worker had before which is gone."""
    end_of_batch: bool = False
    """Whether no more come until these are done."""


@dataclass(frozen=True, slots=True)
class CompactChunkDone:
    """A `ChunkDone` on its way: samples, speech and words stay behind; the samples' number goes."""

    event: ChunkDone
    sample_count: int


@dataclass(frozen=True, slots=True)
class Notice:
    """What a user should know, in a line."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The worker's model is there."""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker can't go on."""

    error: Exception


WorkerMessage: TypeAlias = RunEvent | Notice | ModelLoaded | WorkerFailed
"""What a worker tells."""

PackedMessage: TypeAlias = WorkerMessage | CompactChunkDone
"""What is sent of it."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker is prepared, with no model loaded yet."""

    model: str
    """The model's fingerprint."""
    host: str
    """Its machine and process."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker answers when it is asked how it gets on."""

    messages: tuple[PackedMessage, ...]
    capacity: int
    """Recordings it would take."""
    idle: bool
    """Whether it has nothing to do."""
    closed: bool
    """Whether it was told to stop, and has."""


def pack(message: WorkerMessage) -> PackedMessage:
    """Return what is sent of something a worker tells."""
    if not isinstance(message, ChunkDone):
        return message
    chunk = message.generation.request.chunk
    return CompactChunkDone(_without_audio(message, 0), len(chunk.samples) if chunk else 0)


def unpack(packed: PackedMessage) -> WorkerMessage:
    """Return what a worker told. Of audio its length is left: it is silent, and takes no memory."""
    return (
        _without_audio(packed.event, packed.sample_count)
        if isinstance(packed, CompactChunkDone)
        else packed
    )


def _without_audio(event: ChunkDone, sample_count: int) -> ChunkDone:
    request = event.generation.request
    if request.chunk is None:
        return event
    silence = np.broadcast_to(np.float32(0), (sample_count,))
    light = replace(request, chunk=replace(request.chunk, samples=silence, speech=()))
    # Nobody looks at its words there; to take a hundred objects out of a message takes long.
    return replace(event, generation=replace(event.generation, request=light, words=()))


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone, or of no use."""

    error: Exception
    died: bool
    """Whether its own process did; else its machine is gone, or can't be reached."""


Reply = WorkerReady | WorkerStatus | WorkerLost
"""What comes of a call."""


class WorkerPool(Protocol):
    """Workers, wherever they run. They are known by their names."""

    def start(self) -> str:
        """Begin to start a worker, and return its name; `WorkerReady` comes when it is prepared."""
        ...

    def send(self, worker: str, assignment: Assignment) -> None:
        """Hand a worker jobs; `Said` comes when it has news."""
        ...

    def poll(self, timeout_seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield what came from workers, after some seconds at most."""
        ...

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch, and begin nothing new."""
        ...

    def kill(self, worker: str) -> None:
        """End a worker at once; nothing comes of it any more."""
        ...
