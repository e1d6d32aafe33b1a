"""The `Reader` protocol, and the reader that decodes and chunks in the calling process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from phi4audio_cli.audio.audio_array import open_array
from phi4audio_cli.audio.decode import DecodedAudio, OpenAudio, open_audio
from phi4audio_cli.audio.energy_chunking import audible_seconds, chunk_at_silence
from phi4audio_cli.types import AudioArray, AudioInfo, Channel, Chunk, Samples

Chunker: TypeAlias = Callable[[Iterable[Samples], int, float], Iterator[Chunk]]
"""Splits blocks, given their sample rate in Hz and the longest chunk in seconds, into chunks."""

RaiseIfCancelled: TypeAlias = Callable[[], None]
"""Raises an exception if reading is to stop; else returns."""


def ignore_cancellation() -> None:
    """Read to the end."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A recording to read, and how to split it."""

    path: Path
    max_chunk_seconds: float
    """Length of the longest chunk."""
    channel: Channel = "mix"
    track: int | None = None
    """Index of the audio stream in its container; None: the first."""
    keep_pauses: bool = False
    """Whether the chunks cover the whole recording, cut at quiet points; else the reader's chunker
    decides."""
    audio: AudioArray | None = None
    """The recording itself if it is in memory; `path` then only names it in messages."""


class Reading(Protocol):
    """A recording while it is read."""

    @property
    def info(self) -> AudioInfo:
        """Sample rate of the chunks, and the length by the container."""
        ...

    @property
    def seconds(self) -> float:
        """Length of the audio decoded so far."""
        ...

    @property
    def damage(self) -> str | None:
        """Damage found while decoding; complete after the last chunk."""
        ...

    @property
    def audible_seconds(self) -> float:
        """Length of the audio decoded so far that is not silence."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Decode and split; to be called once."""
        ...


class Reader(Protocol):
    """Reads recordings, one at a time."""

    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> AbstractContextManager[Reading]:
        """Open a recording; the context closes it.

        Args:
            request: The recording.
            raise_if_cancelled: Called in the caller's thread, at least once per block.

        Raises:
            AudioError: It cannot be opened.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcessReader:
    """Reads recordings in the caller's thread; threads may share it."""

    opener: OpenAudio = open_audio
    chunker: Chunker = chunk_at_silence
    """Splits recordings of requests without `keep_pauses`."""

    @contextmanager
    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> Iterator[InProcessReading]:
        """Open a recording; the context closes it."""
        chunker = chunk_at_silence if request.keep_pauses else self.chunker
        with self._open(request) as recording:
            yield InProcessReading(
                recording, chunker, request.max_chunk_seconds, raise_if_cancelled
            )

    def _open(self, request: ReadRequest) -> AbstractContextManager[DecodedAudio]:
        if request.audio is not None:
            return open_array(request.audio, request.path, request.channel)
        return self.opener(request.path, channel=request.channel, track=request.track)


class InProcessReading:
    """A recording read in the calling process. Made by `InProcessReader.read`.

    Attributes:
        info: Sample rate of the chunks, and the length by the container.
        audible_seconds: Length of the audio decoded so far that is not silence.
    """

    def __init__(
        self,
        recording: DecodedAudio,
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
        self.audible_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Length of the audio decoded so far."""
        return self._decoded_samples / self.info.sample_rate

    @property
    def damage(self) -> str | None:
        """Damage found so far."""
        return self._recording.damage

    def chunks(self) -> Iterator[Chunk]:
        """Decode and split; to be called once.

        Raises:
            AudioError: As `decode.Recording.blocks`.
        """
        return self._chunker(self._blocks(), self.info.sample_rate, self._max_chunk_seconds)

    def _blocks(self) -> Iterator[Samples]:
        for block in self._recording.blocks():
            self._decoded_samples += len(block)
            self.audible_seconds += audible_seconds(block, self.info.sample_rate)
            self._raise_if_cancelled()
            yield block
