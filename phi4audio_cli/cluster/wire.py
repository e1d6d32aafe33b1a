"""What goes between the driver and its workers: small, and never audio."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from phi4audio_cli.jobs.filing import Told
from phi4audio_cli.types import ChunkDone, Job


@dataclass(frozen=True, slots=True)
class Gift:
    """What a worker gets."""

    jobs: tuple[Job, ...] = ()
    again: frozenset[int] = frozenset()
    """Index of those that a worker had before which is gone."""
    last: bool = False
    """Whether no more come until these are done."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A `ChunkDone` on its way: samples, speech and words stay behind; the samples' number goes."""

    event: ChunkDone
    samples: int


@dataclass(frozen=True, slots=True)
class Note:
    """What a user should know, in a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The worker's model is there."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker can't go on."""

    error: Exception


News: TypeAlias = Told | Note | Loaded | Broken
"""What a worker tells."""

Sent: TypeAlias = News | Heard
"""What is sent of it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is prepared, with no model loaded yet."""

    model: str
    """The model's fingerprint."""
    place: str
    """Its machine and process."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a worker answers when it is asked how it gets on."""

    sent: tuple[Sent, ...]
    room: int
    """Recordings it would take."""
    idle: bool
    """Whether it has nothing to do."""
    left: bool
    """Whether it was told to stop, and has."""


def pack(news: News) -> Sent:
    """Return what is sent of something a worker tells."""
    if not isinstance(news, ChunkDone):
        return news
    chunk = news.generation.request.chunk
    return Heard(_silent(news, 0), len(chunk.samples) if chunk else 0)


def unpack(sent: Sent) -> News:
    """Return what a worker told. Of audio its length is left: it is silent, and takes no memory."""
    return _silent(sent.event, sent.samples) if isinstance(sent, Heard) else sent


def _silent(told: ChunkDone, count: int) -> ChunkDone:
    request = told.generation.request
    if request.chunk is None:
        return told
    silence = np.broadcast_to(np.float32(0), (count,))
    light = replace(request, chunk=replace(request.chunk, samples=silence, speech=()))
    # Nobody looks at its words there; to take a hundred objects out of a message takes long.
    return replace(told, generation=replace(told.generation, request=light, words=()))
