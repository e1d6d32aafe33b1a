"""From a file to blocks of mono float32, any container, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from phi4audio_cli.audio.resample import output_rate, resample
from phi4audio_cli.audio.sources import AvSource, NoAudioError, SoundfileSource
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Samples

if TYPE_CHECKING:
    from phi4audio_cli.audio.sources import Source

BLOCK_SECONDS = 10
"""Length of a block; memory while decoding is a few of them."""

SHORTEST_SECONDS = 0.025
"""The feature extractor's window; it makes no frame of less."""

RATES = range(1_000, 1_000_000)
"""Sample rates that real recordings have, Hz; others are damaged headers."""

FORMATS_KNOWN = "WAV, FLAC, MP3, Ogg, M4A, MP4, WebM and what else FFmpeg reads will do"


class Recording:
    """An opened recording. Made by `open_audio`.

    Attributes:
        info: Rate of the blocks, and the length by the header.
        damage: What went wrong while decoding, or None; known when the blocks end. Whatever could
            be decoded was delivered.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self._path = path
        self._source = source
        self.info = AudioInfo(output_rate(source.rate), source.seconds)

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding, so far."""
        return self._source.damage

    def blocks(self) -> Iterator[Samples]:
        """Decode, once.

        Yields:
            Mono float32 at `info.sample_rate`, C-contiguous, not empty, about 10 s each.

        Raises:
            AudioError: At the end, if it was shorter than 25 ms.
        """
        rate = self.info.sample_rate
        count = 0
        for block in _collect(resample(self._source.pieces(), rate), BLOCK_SECONDS * rate):
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
def open_audio(path: Path) -> Iterator[Recording]:
    """Open a recording for decoding; everything is closed with the context.

    Telephone audio (8 kHz) stays at its rate; all other rates are resampled to 16 kHz. Channels
    are averaged. Samples that are not numbers become silence.

    Args:
        path: A file, of any kind that libsndfile or FFmpeg's libraries read.

    Raises:
        AudioError: Not a readable file, an empty one, or one without audio in it.
    """
    with _open_file(path) as file, closing(_open_source(path, file)) as source:
        if source.rate not in RATES:
            raise AudioError(
                f"its header says a sample rate of {source.rate} Hz: damaged",
                str(path),
                "get the recording again from where it came from",
            )
        yield Recording(path, source)


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


def _open_source(path: Path, file: BinaryIO) -> Source:
    try:
        return SoundfileSource(file)
    except NoAudioError:
        file.seek(0)
    try:
        return AvSource(file)
    except NoAudioError as error:
        raise AudioError(
            f"no audio that can be decoded: {error}",
            str(path),
            f"give a recording: {FORMATS_KNOWN}",
        ) from error


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
