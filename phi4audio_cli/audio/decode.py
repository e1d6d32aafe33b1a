"""From a file to blocks of mono float32, any container, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from phi4audio_cli.audio.channels import pick
from phi4audio_cli.audio.ffmpeg import AvSource
from phi4audio_cli.audio.mp4 import lacks_index
from phi4audio_cli.audio.ogg import ends_inside_page
from phi4audio_cli.audio.resample import output_rate, resample
from phi4audio_cli.audio.rescue import RescuedSource
from phi4audio_cli.audio.sources import RATES, NoAudioError, NoTrackError, Source
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Channel, Samples

BLOCK_SECONDS = 10
"""Length of a block; memory while decoding is a few of them."""

SHORTEST_SECONDS = 0.025
"""The feature extractor's window; it makes no frame of less."""

FORMATS_KNOWN = "WAV, FLAC, MP3, Ogg, M4A, MP4, WebM and what else FFmpeg reads will do"


class OpenedAudio(Protocol):
    """An opened recording, wherever it is decoded: `Recording`, or `apart.RecordingApart`."""

    @property
    def info(self) -> AudioInfo:
        """Rate of the blocks, and the length by the header."""
        ...

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding; known when the blocks end."""
        ...

    def blocks(self) -> Iterator[Samples]:
        """Decode, once."""
        ...


class OpenAudio(Protocol):
    """Opens recordings: `open_audio`, or `apart.Decoder.open`."""

    def __call__(
        self, path: Path, *, channel: Channel = "mix", track: int | None = None
    ) -> AbstractContextManager[OpenedAudio]:
        """Open a recording; everything is closed with the context."""
        ...


class Recording:
    """An opened recording. Made by `open_audio`.

    Attributes:
        info: Rate of the blocks, and the length by the header.
        damage: What went wrong while decoding, or None; known when the blocks end. Whatever could
            be decoded was delivered.
    """

    def __init__(
        self, path: Path, source: Source, channel: Channel, cut_off: str | None = None
    ) -> None:
        self._path = path
        self._source = source
        self._channel = channel
        self._cut_off = cut_off
        self.info = AudioInfo(output_rate(source.rate), source.seconds)

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding, so far."""
        return self._source.damage or self._cut_off

    def blocks(self) -> Iterator[Samples]:
        """Decode, once.

        Yields:
            Mono float32 at `info.sample_rate`, C-contiguous, not empty, about 10 s each.

        Raises:
            AudioError: At the end, if it was shorter than 25 ms.
        """
        rate = self.info.sample_rate
        count = 0
        heard = ((own, pick(frames, self._channel)) for own, frames in self._source.pieces())
        for block in _collect(resample(heard, rate), BLOCK_SECONDS * rate):
            count += len(block)
            yield block
        if count < SHORTEST_SECONDS * rate:
            raise self._too_short(count / rate)

    def _too_short(self, seconds: float) -> AudioError:
        if self.damage:
            return AudioError(
                f"damaged, {1000 * seconds:.0f} ms of audio could be decoded: {self.damage}",
                str(self._path),
                "get the recording again from where it came from",
            )
        return AudioError(
            f"only {1000 * seconds:.0f} ms of audio, too short to hold speech",
            str(self._path),
            f"give at least {1000 * SHORTEST_SECONDS:.0f} ms",
        )


@contextmanager
def open_audio(
    path: Path, *, channel: Channel = "mix", track: int | None = None
) -> Iterator[Recording]:
    """Open a recording for decoding; everything is closed with the context.

    Telephone audio (8 kHz) stays at its rate; all other rates are resampled to 16 kHz. Samples
    that are not numbers become silence.

    Args:
        path: A file, of any kind that libsndfile or FFmpeg's libraries read.
        channel: What is heard of several channels.
        track: Which audio stream of a container, from 0; None: the first.

    Raises:
        AudioError: Not a readable file, an empty one, one without audio in it, or without the
            channel or track.
    """
    with _open_file(path) as file, closing(_open_source(path, file, track)) as source:
        cut_off = "cut off in the midst of an Ogg page" if ends_inside_page(file) else None
        if source.rate not in RATES:
            raise AudioError(
                f"its header says a sample rate of {source.rate} Hz: damaged",
                str(path),
                "get the recording again from where it came from",
            )
        if channel != "mix" and source.channels == 1:
            raise AudioError(
                f"it is mono: there is no {channel} channel", str(path), "leave out --channel"
            )
        yield Recording(path, source, channel, cut_off)


def _open_file(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise AudioError("a folder, not a recording", str(path), "name the files in it")
        if path.exists() and not path.is_file():  # opening a pipe could wait for ever
            raise AudioError("not a regular file", str(path), "copy its content into a file")
        file = path.open("rb")
    except OSError as error:
        raise AudioError(
            f"can't be read: {error.strerror or error}",
            str(path),
            "check that it is there and that you may read it",
        ) from error
    if file.seek(0, 2) == 0:
        file.close()
        raise AudioError("the file is empty", str(path), "get the recording again")
    file.seek(0)
    return file


def _open_source(path: Path, file: BinaryIO, track: int | None) -> Source:
    try:
        return _first_source(file, track)
    except NoTrackError as error:
        last = error.tracks - 1
        raise AudioError(
            f"there is no audio track {track}, it has {error.tracks}",
            str(path),
            f"tracks count from 0: give --track 0 to {last}" if last else "leave out --track",
        ) from error
    except NoAudioError as error:
        why, remedy = str(error), f"give a recording: {FORMATS_KNOWN}"
        if lacks_index(file):
            why = "the file was cut off or never finished, its index is missing"
            remedy = "get the whole file from where it came from"
        raise AudioError(f"no audio that can be decoded: {why}", str(path), remedy) from error


def _first_source(file: BinaryIO, track: int | None) -> Source:
    if not track:  # libsndfile knows one track only
        try:
            return RescuedSource(file)
        except NoAudioError:
            file.seek(0)
    return AvSource(file, track or 0)


def _collect(pieces: Iterable[Samples], length: int) -> Iterator[Samples]:
    """Join small pieces to blocks of at least `length` samples; the last may be shorter."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= length:
            yield np.concatenate(held)
            held, count = [], 0
    if count:
        yield np.concatenate(held)
