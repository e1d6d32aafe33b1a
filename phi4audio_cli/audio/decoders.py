"""Selection and combination of the two decoders, libsndfile and FFmpeg.

libsndfile decodes WAV, FLAC, AIFF and other files that declare their length; FFmpeg decodes all
others, and continues where libsndfile stops at a damaged frame. libsndfile reads MP3 and Ogg as
well, but it stops at the length that it estimates at opening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from phi4audio_cli.audio.audio_source import (
    AudioSource,
    Frames,
    NoAudioError,
    join_damage,
)
from phi4audio_cli.audio.containers import id3_length, restored_position
from phi4audio_cli.audio.ffmpeg import FFmpegSource
from phi4audio_cli.audio.libsndfile import SoundfileSource


def open_source(file: BinaryIO) -> AudioSource:
    """Open the first audio stream of a file with the decoder for its format.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: No decoder reads it.
    """
    if not _is_mpeg_or_ogg(file):
        try:
            return FallbackSource(file)
        except NoAudioError:
            file.seek(0)
    return FFmpegSource(file)


def _is_mpeg_or_ogg(file: BinaryIO) -> bool:
    with restored_position(file):
        file.seek(id3_length(file))
        head = file.read(4)
    return head == b"OggS" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


class FallbackSource:
    """A recording decoded by libsndfile, and by FFmpeg after a failure of libsndfile.

    libsndfile stops at the first damaged frame of a FLAC; FFmpeg skips it.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: libsndfile cannot read it, or finds no frame in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._source = SoundfileSource(file)
        if self._source.channels > 2:
            self._source.layout = _probe_layout(file)
        self.rate = self._source.rate
        self.channels = self._source.channels
        self.seconds = self._source.seconds
        self.damage: str | None = None

    def frames(self) -> Iterator[Frames]:
        """Decode; to be called once."""
        count = 0
        for frames in self._source.frames():
            count += len(frames.samples)
            yield frames
        self.damage = self._source.damage
        if self._source.decoder_failed:
            for frames in self._decode_rest_with_ffmpeg(count):
                count += len(frames.samples)
                yield frames
            self.damage = f"{self.damage}; {count / self.rate:.1f} s could be decoded"

    def _decode_rest_with_ffmpeg(self, skip: int) -> Iterator[Frames]:
        self._file.seek(0)
        try:
            source = FFmpegSource(self._file)
        except NoAudioError:
            return
        with closing(source):
            if (source.rate, source.channels) == (self.rate, self.channels):
                yield from _skip_frames(source.frames(), skip)

    def close(self) -> None:
        """Free the decoder."""
        self._source.close()


def _probe_layout(file: BinaryIO) -> tuple[str, ...]:
    """Return the names of a file's channels, which soundfile does not expose; empty if unknown."""
    position = file.tell()
    file.seek(0)
    try:
        with closing(FFmpegSource(file)) as source:
            return source.layout
    except NoAudioError:
        return ()
    finally:
        file.seek(position)


def _skip_frames(source_frames: Iterable[Frames], skip: int) -> Iterator[Frames]:
    """Drop the first `skip` frames."""
    for frames in source_frames:
        if skip < len(frames.samples):
            yield Frames(frames.rate, frames.samples[skip:], frames.layout)
        skip = max(0, skip - len(frames.samples))


class JoinedSource:
    """The parts of a joined file, one after the other. Rate and layout may differ between them.

    Args:
        parts: The files of the parts.
        opener: Opens a part.

    Raises:
        NoAudioError: No part can be decoded.
    """

    def __init__(
        self, parts: Sequence[BinaryIO], opener: Callable[[BinaryIO], AudioSource]
    ) -> None:
        self._opener = opener
        self._parts = list(parts)
        self._damages: list[str] = []
        self.damage: str | None = None
        self._source = self._open_next()
        self.rate = self._source.rate
        self.channels = self._source.channels
        self.seconds: float | None = None

    def _add_damage(self, description: str) -> None:
        self._damages.append(description)
        self.damage = join_damage(*self._damages)

    def _open_next(self) -> AudioSource:
        reason = "no audio in any part"
        while self._parts:
            try:
                return self._opener(self._parts.pop(0))
            except NoAudioError as error:
                reason = str(error)
                self._add_damage(f"a part of the file cannot be decoded: {reason}")
        raise NoAudioError(reason)

    def frames(self) -> Iterator[Frames]:
        """Decode; to be called once."""
        while True:
            yield from self._source.frames()
            if self._source.damage:
                self._add_damage(self._source.damage)
            if not self._parts:
                return
            self._source.close()
            try:
                self._source = self._open_next()
            except NoAudioError:
                return

    def close(self) -> None:
        """Free the decoder."""
        self._source.close()
