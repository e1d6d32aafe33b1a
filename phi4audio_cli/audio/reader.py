"""The `Reader` protocol, and the reader that decodes and chunks in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from phi4audio_cli.audio.audio_array import open_array
from phi4audio_cli.audio.decode import OpenAudio, OpenedAudio, open_audio
from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.types import AudioArray, AudioInfo, Channel, Chunk, Samples

Chunker: TypeAlias = Callable[[Iterable[Samples], int, float], Iterator[Chunk]]
"""From blocks, their sample rate in Hz and the longest chunk in seconds to chunks."""

RaiseIfCancelled: TypeAlias = Callable[[], None]
"""Looks whether to go on; raises where the reading is to end."""


def ignore_cancellation() -> None:
    """Go on to the end."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What is to be read of a recording, and how it is cut."""

    path: Path
    max_chunk_seconds: float
    """Longest chunk."""
    channel: Channel = "mix"
    track: int | None = None
    """Which audio stream of a container, from 0; None: the first."""
    keep_pauses: bool = False
    """Whether all of it is wanted, cut at quiet places; else as the reader's chunker does it."""
    audio: AudioArray | None = None
    """The recording itself, where it is in memory; `path` then only names it in messages."""


class Reading(Protocol):
    """A recording that is being read."""

    @property
    def info(self) -> AudioInfo:
        """Rate of the chunks, and the length by the header."""
        ...

    @property
    def seconds(self) -> float:
        """How much was decoded so far."""
        ...

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding; known when the chunks end."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Decode and cut, once."""
        ...


class Reader(Protocol):
    """Reads recordings, one at a time."""

    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> AbstractContextManager[Reading]:
        """Open a recording; everything is closed with the context.

        Args:
            request: The recording.
            raise_if_cancelled: Called in the caller's thread, once a block at least.

        Raises:
            AudioError: It can't be opened.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcessReader:
    """Reads recordings in the caller's thread; it may be shared."""

    opener: OpenAudio = open_audio
    chunker: Chunker = chunk_at_silence
    """How recordings are cut whose pauses are not wanted."""

    @contextmanager
    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> Iterator[InProcessReading]:
        """Open a recording; everything is closed with the context."""
        chunker = chunk_at_silence if request.keep_pauses else self.chunker
        with self._open(request) as recording:
            yield InProcessReading(
                recording, chunker, request.max_chunk_seconds, raise_if_cancelled
            )

    def _open(self, request: ReadRequest) -> AbstractContextManager[OpenedAudio]:
        if request.audio is not None:
            return open_array(request.audio, request.path, request.channel)
        return self.opener(request.path, channel=request.channel, track=request.track)


class InProcessReading:
    """A recording that is read in this process. Made by `InProcessReader.read`.

    Attributes:
        info: Rate of the chunks, and the length by the header.
    """

    def __init__(
        self,
        recording: OpenedAudio,
        chunker: Chunker,
        max_chunk_seconds: float,
        raise_if_cancelled: RaiseIfCancelled,
    ) -> None:
        self.info = recording.info
        self._recording = recording
        self._chunker = chunker
        self._max_chunk_seconds = max_chunk_seconds
        self._raise_if_cancelled = raise_if_cancelled
        self._decoded_samples = 0

    @property
    def seconds(self) -> float:
        """How much was decoded so far."""
        return self._decoded_samples / self.info.sample_rate

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding, so far."""
        return self._recording.damage

    def chunks(self) -> Iterator[Chunk]:
        """Decode and cut, once.

        Raises:
            AudioError: As `decode_file.Recording.blocks`.
        """
        return self._chunker(self._blocks(), self.info.sample_rate, self._max_chunk_seconds)

    def _blocks(self) -> Iterator[Samples]:
        for block in self._recording.blocks():
            self._decoded_samples += len(block)
            self._raise_if_cancelled()
            yield block
