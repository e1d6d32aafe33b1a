"""Where libsndfile gives up in the midst of a damaged recording, FFmpeg goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

from phi4audio_cli.audio.ffmpeg import AvSource
from phi4audio_cli.audio.libsndfile import SoundfileSource
from phi4audio_cli.audio.sources import NoAudioError, Piece


class RescuedSource:
    """What libsndfile reads of a recording, and after its failure what FFmpeg reads.

    libsndfile ends at the first frame of a FLAC or MP3 that is broken; FFmpeg leaves that out.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: libsndfile can't read it, or finds no frame in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._source = SoundfileSource(file)
        self.rate = self._source.rate
        self.channels = self._source.channels
        self.seconds = self._source.seconds
        self.damage: str | None = None

    def pieces(self) -> Iterator[Piece]:
        """Yield (sample rate, float32 of shape (length, channels))."""
        count = 0
        for rate, frames in self._source.pieces():
            count += len(frames)
            yield rate, frames
        self.damage = self._source.damage
        if self._source.gave_up:
            for rate, frames in self._rest(count):
                count += len(frames)
                yield rate, frames
            self.damage = f"{self.damage}; {count / self.rate:.1f} s could be decoded"

    def _rest(self, skip: int) -> Iterator[Piece]:
        self._file.seek(0)
        try:
            source = AvSource(self._file)
        except NoAudioError:
            return
        with closing(source):
            if (source.rate, source.channels) == (self.rate, self.channels):
                yield from _after(source.pieces(), skip)

    def close(self) -> None:
        """Free the decoder."""
        self._source.close()


def _after(pieces: Iterable[Piece], skip: int) -> Iterator[Piece]:
    """Leave out the first frames, as many as `skip`."""
    for rate, frames in pieces:
        if skip < len(frames):
            yield rate, frames[skip:]
        skip = max(0, skip - len(frames))
