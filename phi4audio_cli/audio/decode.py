"""Decode a recording of any container to blocks of mono float32, in bounded memory.

libsndfile is tried first; FFmpeg decodes what libsndfile cannot, and continues where libsndfile
stops at a damaged frame.
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
from phi4audio_cli.audio.resample import output_rate, reblock, resample
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Channel, Samples

BLOCK_SECONDS = 10
"""Length of a block; decoding needs the memory of a few blocks."""

MIN_RECORDING_SECONDS = 0.025
"""Shortest recording: one window of the feature extractor."""

SUPPORTED_FORMATS = (
    "WAV, FLAC, MP3, Ogg, M4A, MP4, WebM and all other formats of FFmpeg are supported"
)


class DecodedAudio(Protocol):
    """An opened recording that yields blocks: `Recording`, or a test's stand-in."""

    @property
    def info(self) -> AudioInfo:
        """Sample rate of the blocks, and the length by the container."""
        ...

    @property
    def damage(self) -> str | None:
        """Damage found while decoding; complete after the last block."""
        ...

    def blocks(self) -> Iterator[Samples]:
        """Decode; to be called once."""
        ...


class OpenAudio(Protocol):
    """Opens recordings, as `open_audio` does."""

    def __call__(
        self, path: Path, *, channel: Channel = "mix", track: int | None = None
    ) -> AbstractContextManager[DecodedAudio]:
        """Open a recording; the context closes it."""
        ...


class Recording:
    """An opened recording. Made by `open_audio`.

    Attributes:
        info: Sample rate of the blocks, and the length by the container.
        damage: Damage found while decoding, or None; complete after the last block. Everything
            that can be decoded is yielded in spite of it.
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
        """Damage found so far."""
        return self._source.damage or self._truncated

    def blocks(self) -> Iterator[Samples]:
        """Decode; to be called once.

        Yields:
            Mono float32 at `info.sample_rate`, C-contiguous, 10 s each, the last one shorter.

        Raises:
            AudioError: At the end, if the recording is shorter than 25 ms.
        """
        rate = self.info.sample_rate
        count = 0
        mono = (
            (source_rate, select_channel(frames, self._channel))
            for source_rate, frames in self._source.frames()
        )
        for block in reblock(resample(mono, rate), BLOCK_SECONDS * rate):
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
    """Open a recording for decoding; the context closes it.

    Telephone audio (8 kHz) keeps its rate; all other rates are resampled to 16 kHz. Samples that
    are not finite become silence.

    Args:
        path: A file of any format that libsndfile or FFmpeg reads.
        channel: The channel to decode, or the downmix of all.
        track: Index of the audio stream in its container; None: the first.

    Raises:
        AudioError: The file cannot be read, is empty, or has no audio or not the channel or
            track.
    """
    with _open_file(path) as file, closing(_open_source(path, file, track)) as source:
        cut_off = "cut off within an Ogg page" if is_truncated_ogg(file) else None
        if source.rate not in VALID_SAMPLE_RATES:
            raise AudioError(
                f"damaged header: a sample rate of {source.rate} Hz",
                str(path),
                "get the recording again from where it came from",
            )
        if channel != "mix" and source.channels == 1:
            raise AudioError(f"mono, without a {channel} channel", str(path), "leave out --channel")
        yield Recording(path, source, channel, cut_off)


def _open_file(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise AudioError("a folder, not a recording", str(path), "name the files in it")
        if path.exists() and not path.is_file():  # opening a pipe may block for ever
            raise AudioError("not a regular file", str(path), "copy its content into a file")
        file = path.open("rb")
    except OSError as error:
        raise AudioError(
            f"can't be read: {error.strerror or error}",
            str(path),
            "check that it exists and that you may read it",
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
            f"no audio track {track}, the number of tracks is {error.tracks}",
            str(path),
            f"tracks are counted from 0: give --track 0 to {last}" if last else "leave out --track",
        ) from error
    except NoAudioError as error:
        reason, remedy = str(error), f"give a recording: {SUPPORTED_FORMATS}"
        if is_missing_moov(file):
            reason = "the file was cut off or never finished, its index is missing"
            remedy = "get the whole file from where it came from"
        raise AudioError(f"no audio that can be decoded: {reason}", str(path), remedy) from error


def _select_source(file: BinaryIO, track: int | None) -> AudioSource:
    if not track:  # libsndfile reads the first track only
        try:
            return FallbackSource(file)
        except NoAudioError:
            file.seek(0)
    return FFmpegSource(file, track or 0)


MAX_SAMPLE_MAGNITUDE = 2.0**31
"""Largest real sample of any scale; a larger one means a damaged float file."""


def select_channel(frames: npt.NDArray[Any], channel: Channel = "mix") -> Samples:
    """Return one channel, or the average of all; invalid samples become silence.

    Args:
        frames: float32, shape (length, channels).
        channel: `left` and `right` are the first two channels; both are the only one where a
            damaged recording is mono for a while.

    Returns:
        Shape (length,), C-contiguous.
    """
    valid = np.abs(frames) <= MAX_SAMPLE_MAGNITUDE  # False for NaN and infinities too
    if not valid.all():
        frames = np.where(valid, frames, np.float32(0))
    if channel != "mix":
        index = 1 if channel == "right" else 0
        return np.array(frames[:, min(index, frames.shape[1] - 1)], dtype=np.float32)
    # By columns: numpy's mean over a short last axis takes several times as long.
    total: Samples = np.array(frames[:, 0], dtype=np.float32)
    for each in range(1, frames.shape[1]):
        total += frames[:, each]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total


class FallbackSource:
    """A recording decoded by libsndfile, and by FFmpeg after a failure of libsndfile.

    libsndfile stops at the first damaged frame of a FLAC or MP3; FFmpeg skips it.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: libsndfile cannot read it, or finds no frame in it.
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
    """Drop the first `skip` frames."""
    for rate, frames in source_frames:
        if skip < len(frames):
            yield rate, frames[skip:]
        skip = max(0, skip - len(frames))
