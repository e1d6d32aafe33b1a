"""Decode a recording of any container to blocks of mono float32, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from phi4audio_cli.audio.audio_source import (
    VALID_SAMPLE_RATES,
    AudioSource,
    NoAudioError,
    NoTrackError,
    join_damage,
)
from phi4audio_cli.audio.containers import is_missing_moov, ogg_damage
from phi4audio_cli.audio.decoders import JoinedSource, open_source
from phi4audio_cli.audio.downmix import Downmixer
from phi4audio_cli.audio.ffmpeg import FFmpegSource
from phi4audio_cli.audio.joined_files import split_joined
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
        self, path: Path, source: AudioSource, channel: Channel, container_damage: str | None = None
    ) -> None:
        self._path = path
        self._source = source
        self._channel = channel
        self._container_damage = container_damage
        self.info = AudioInfo(output_rate(source.rate), source.seconds)

    @property
    def damage(self) -> str | None:
        """Damage found so far."""
        return join_damage(self._source.damage, self._container_damage)

    def blocks(self) -> Iterator[Samples]:
        """Decode; to be called once.

        Yields:
            Mono float32 at `info.sample_rate`, C-contiguous, 10 s each, the last one shorter.

        Raises:
            AudioError: At the end, if the recording is shorter than 25 ms.
        """
        rate = self.info.sample_rate
        count = 0
        downmixer = Downmixer(self._channel)
        mono = ((frames.rate, downmixer.mix(frames)) for frames in self._source.frames())
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
        if source.rate not in VALID_SAMPLE_RATES:
            raise AudioError(
                f"damaged header: a sample rate of {source.rate} Hz",
                str(path),
                "get the recording again from where it came from",
            )
        if channel != "mix" and source.channels == 1:
            raise AudioError(f"mono, without a {channel} channel", str(path), "leave out --channel")
        yield Recording(path, source, channel, ogg_damage(file))


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
    if track:
        return FFmpegSource(file, track)
    parts = split_joined(file)
    if len(parts) > 1:
        return JoinedSource(parts, open_source)
    return open_source(file)
