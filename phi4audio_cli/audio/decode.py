"""Decode a recording of any container to blocks of mono float32, in bounded memory.

libsndfile decodes first; FFmpeg decodes what libsndfile cannot, and goes on where libsndfile stops
at a damaged frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio.audio_source import (
    VALID_SAMPLE_RATES,
    AudioSource,
    NoAudioError,
    NoTrackError,
    RatedFrames,
)
from phi4audio_cli.audio.containers import is_missing_moov, is_truncated_ogg
from phi4audio_cli.audio.ffmpeg import FFmpegSource
from phi4audio_cli.audio.libsndfile import SoundfileSource
from phi4audio_cli.audio.resample import output_rate, resample
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Channel, Samples

BLOCK_SECONDS = 10
"""Length of a block; memory while decoding is a few of them."""

MIN_RECORDING_SECONDS = 0.025
"""The feature extractor's window; it makes no frame of less."""

SUPPORTED_FORMATS = "WAV, FLAC, MP3, Ogg, M4A, MP4, WebM and what else FFmpeg reads will do"


class OpenedAudio(Protocol):
    """An opened recording, wherever it is decoded: `Recording`, or `run_in_subprocess.RecordingApart`."""

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
    """Opens recordings: `open_audio`, or `run_in_subprocess.Decoder.opener`."""

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
        self, path: Path, source: AudioSource, channel: Channel, truncated: str | None = None
    ) -> None:
        self._path = path
        self._source = source
        self._channel = channel
        self._truncated = truncated
        self.info = AudioInfo(output_rate(source.rate), source.seconds)

    @property
    def damage(self) -> str | None:
        """What went wrong while decoding, so far."""
        return self._source.damage or self._truncated

    def blocks(self) -> Iterator[Samples]:
        """Decode, once.

        Yields:
            Mono float32 at `info.sample_rate`, C-contiguous, not empty, about 10 s each.

        Raises:
            AudioError: At the end, if it was shorter than 25 ms.
        """
        rate = self.info.sample_rate
        count = 0
        heard = (
            (own, select_channel(frames, self._channel)) for own, frames in self._source.frames()
        )
        for block in _join_blocks(resample(heard, rate), BLOCK_SECONDS * rate):
            count += len(block)
            yield block
        if count < MIN_RECORDING_SECONDS * rate:
            raise self._too_short_error(count / rate)

    def _too_short_error(self, seconds: float) -> AudioError:
        if self.damage:
            return AudioError(
                f"damaged, {1000 * seconds:.0f} ms of audio could be decoded: {self.damage}",
                str(self._path),
                "get the recording again from where it came from",
            )
        return AudioError(
            f"only {1000 * seconds:.0f} ms of audio, too short to hold speech",
            str(self._path),
            f"give at least {1000 * MIN_RECORDING_SECONDS:.0f} ms",
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
        cut_off = "cut off in the midst of an Ogg page" if is_truncated_ogg(file) else None
        if source.rate not in VALID_SAMPLE_RATES:
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


def _open_source(path: Path, file: BinaryIO, track: int | None) -> AudioSource:
    try:
        return _select_source(file, track)
    except NoTrackError as error:
        last = error.tracks - 1
        raise AudioError(
            f"there is no audio track {track}, it has {error.tracks}",
            str(path),
            f"tracks count from 0: give --track 0 to {last}" if last else "leave out --track",
        ) from error
    except NoAudioError as error:
        why, remedy = str(error), f"give a recording: {SUPPORTED_FORMATS}"
        if is_missing_moov(file):
            why = "the file was cut off or never finished, its index is missing"
            remedy = "get the whole file from where it came from"
        raise AudioError(f"no audio that can be decoded: {why}", str(path), remedy) from error


def _select_source(file: BinaryIO, track: int | None) -> AudioSource:
    if not track:  # libsndfile knows one track only
        try:
            return FallbackSource(file)
        except NoAudioError:
            file.seek(0)
    return FFmpegSource(file, track or 0)


def _join_blocks(blocks: Iterable[Samples], min_length: int) -> Iterator[Samples]:
    """Join small pieces to blocks of at least `min_length` samples; the last may be shorter."""
    held: list[Samples] = []
    count = 0
    for piece in blocks:
        held.append(piece)
        count += len(piece)
        if count >= min_length:
            yield np.concatenate(held)
            held, count = [], 0
    if count:
        yield np.concatenate(held)


MAX_SAMPLE_MAGNITUDE = 2.0**31
"""No real sample is larger, whatever its scale: beyond it a float file is damaged."""


def select_channel(frames: npt.NDArray[Any], channel: Channel = "mix") -> Samples:
    """Take one channel, or the average of all; what can't be a sample becomes silence.

    Args:
        frames: float32, shape (length, channels).
        channel: `closed` and `right` are the first two; where a damaged recording has only one for
            a while, both are that one.

    Returns:
        Shape (length,), C-contiguous.
    """
    sound = np.abs(frames) <= MAX_SAMPLE_MAGNITUDE  # False for NaN and infinities too
    if not sound.all():
        frames = np.where(sound, frames, np.float32(0))
    if channel != "mix":
        wanted = 1 if channel == "right" else 0
        return np.array(frames[:, min(wanted, frames.shape[1] - 1)], dtype=np.float32)
    # Whole columns: numpy's mean over a short last axis takes several times as long.
    total: Samples = np.array(frames[:, 0], dtype=np.float32)
    for each in range(1, frames.shape[1]):
        total += frames[:, each]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total


class FallbackSource:
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

    def frames(self) -> Iterator[RatedFrames]:
        """Yield (sample rate, float32 of shape (length, channels))."""
        count = 0
        for rate, frames in self._source.frames():
            count += len(frames)
            yield rate, frames
        self.damage = self._source.damage
        if self._source.decoder_failed:
            for rate, frames in self._decode_rest_with_ffmpeg(count):
                count += len(frames)
                yield rate, frames
            self.damage = f"{self.damage}; {count / self.rate:.1f} s could be decoded"

    def _decode_rest_with_ffmpeg(self, skip: int) -> Iterator[RatedFrames]:
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


def _skip_frames(source_frames: Iterable[RatedFrames], skip: int) -> Iterator[RatedFrames]:
    """Leave out the first frames, as many as `skip`."""
    for rate, frames in source_frames:
        if skip < len(frames):
            yield rate, frames[skip:]
        skip = max(0, skip - len(frames))
