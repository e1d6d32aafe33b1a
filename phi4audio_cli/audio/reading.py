"""Reading: a recording is opened, decoded and cut into chunks, here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.decode import OpenAudio, OpenedAudio, open_audio
from phi4audio_cli.types import AudioInfo, Channel, Chunk, Samples

Cutter: TypeAlias = Callable[[Iterable[Samples], int, float], Iterator[Chunk]]
"""From blocks, their sample rate in Hz and the longest chunk in seconds to chunks."""

Check: TypeAlias = Callable[[], None]
"""Looks whether to go on; raises where the reading is to end."""


def go_on() -> None:
    """Go on to the end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read of a recording, and how it is cut."""

    path: Path
    limit_seconds: float
    """Longest chunk."""
    channel: Channel = "mix"
    track: int | None = None
    """Which audio stream of a container, from 0; None: the first."""
    keep_pauses: bool = False
    """Whether all of it is wanted, cut at quiet places; else as the reader's cutter does it."""


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

    def read(self, wanted: Wanted, check: Check = go_on) -> AbstractContextManager[Reading]:
        """Open a recording; everything is closed with the context.

        Args:
            wanted: The recording.
            check: Called in the caller's thread, once a block at least.

        Raises:
            AudioError: It can't be opened.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReaderHere:
    """Reads recordings in the caller's thread; it may be shared."""

    open: OpenAudio = open_audio
    cut: Cutter = cut_at_quiet
    """How recordings are cut whose pauses are not wanted."""

    @contextmanager
    def read(self, wanted: Wanted, check: Check = go_on) -> Iterator[ReadingHere]:
        """Open a recording; everything is closed with the context."""
        with self.open(wanted.path, channel=wanted.channel, track=wanted.track) as recording:
            cut = cut_at_quiet if wanted.keep_pauses else self.cut
            yield ReadingHere(recording, cut, wanted.limit_seconds, check)


class ReadingHere:
    """A recording that is read in this process. Made by `ReaderHere.read`.

    Attributes:
        info: Rate of the chunks, and the length by the header.
    """

    def __init__(
        self, recording: OpenedAudio, cut: Cutter, limit_seconds: float, check: Check
    ) -> None:
        self.info = recording.info
        self._recording = recording
        self._cut = cut
        self._limit_seconds = limit_seconds
        self._check = check
        self._samples = 0

    @property
    def seconds(self) -> float:
        """How much was decoded so far."""
        return self._samples / self.info.sample_rate

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding, so far."""
        return self._recording.damage

    def chunks(self) -> Iterator[Chunk]:
        """Decode and cut, once.

        Raises:
            AudioError: As `decode.Recording.blocks`.
        """
        return self._cut(self._blocks(), self.info.sample_rate, self._limit_seconds)

    def _blocks(self) -> Iterator[Samples]:
        for block in self._recording.blocks():
            self._samples += len(block)
            self._check()
            yield block
