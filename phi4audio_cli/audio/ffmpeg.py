"""Whatever FFmpeg's libraries read: MP4, M4A, WebM, MKV, video."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from phi4audio_cli.audio.sources import (
    RATES,
    NoAudioError,
    NoTrackError,
    Patient,
    Piece,
    shortfall,
)

if TYPE_CHECKING:
    import numpy.typing as npt

OPTIONS = {"protocol_whitelist": "none"}
"""A playlist must not make the program read other files, or the network."""


class AvSource:
    """One audio stream of a container.

    Args:
        file: Opened for reading, at its start.
        track: Which of its audio streams, from 0.

    Raises:
        NoTrackError: It has fewer.
        NoAudioError: Not a container FFmpeg knows, no audio stream, or none of it decodes.
    """

    def __init__(self, file: BinaryIO, track: int = 0) -> None:
        import av

        # An OSError is what reading or seeking in the file raised, below FFmpeg.
        self._error = (av.error.FFmpegError, OSError)
        self.damage: str | None = None
        try:
            self._container: Any = av.open(
                Patient(file), mode="r", metadata_errors="replace", options=OPTIONS
            )
        except (*self._error, ValueError) as error:
            raise NoAudioError(_reason(error)) from error
        try:
            self._begin(track)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, track: int) -> None:
        streams = self._container.streams.audio
        if not streams:
            raise NoAudioError("no audio stream")
        if not 0 <= track < len(streams):
            raise NoTrackError(len(streams))
        self._stream: Any = streams[track]
        self._frames = self._decode()
        # The codec may only know its real rate when it has decoded something.
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise NoAudioError(self.damage or "no audio frames")
        self.rate: int = self._first.sample_rate
        self.channels: int = len(self._first.layout.channels)
        self._own_seconds = self._stream_seconds()
        self.seconds = self._own_seconds or self._container_seconds()

    def _stream_seconds(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        # Of several streams, another may be the long one.
        return self._container_seconds() if len(self._container.streams) == 1 else None

    def _container_seconds(self) -> float | None:
        import av

        return float(self._container.duration / av.time_base) if self._container.duration else None

    def _decode(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                yield from packet.decode()
            except self._error as error:  # one bad packet; those after it may be good
                self.damage = _reason(error)

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except self._error as error:
            self.damage = _reason(error)

    def pieces(self) -> Iterator[Piece]:
        """Yield (sample rate, float32 of shape (length, channels))."""
        seconds = 0.0
        for frame in _joined(self._sane(itertools.chain([self._first], self._frames))):
            samples = _as_float(frame)
            seconds += len(samples) / frame.sample_rate
            yield frame.sample_rate, samples
        problems = (self.damage, shortfall(seconds, self._own_seconds))
        self.damage = "; ".join(filter(None, problems)) or None

    def _sane(self, frames: Iterable[Any]) -> Iterator[Any]:
        for frame in frames:
            if frame.sample_rate in RATES:
                yield frame
            else:
                self.damage = f"a sample rate of {frame.sample_rate} Hz"

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _joined(frames: Iterable[Any]) -> Iterator[Any]:
    """Join frames of one kind to about a second; each costs as much as a long one would."""
    import av

    for _, group in itertools.groupby(frames, _kind):
        fifo = av.AudioFifo()
        for frame in group:
            frame.pts = None  # where packets were lost, times jump; the fifo would refuse that
            fifo.write(frame)
            if fifo.samples >= frame.sample_rate:
                yield fifo.read()
        if fifo.samples:
            yield fifo.read()


def _kind(frame: Any) -> tuple[object, ...]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _as_float(frame: Any) -> npt.NDArray[Any]:
    """Return a decoded frame as float32 in [-1, 1], shape (length, channels)."""
    data: npt.NDArray[Any] = frame.to_ndarray()
    channels = len(frame.layout.channels)
    frames = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if frames.dtype == np.uint8:
        return (frames.astype(np.float32) - 128) / 128
    if np.issubdtype(frames.dtype, np.integer):
        return (frames / -float(np.iinfo(frames.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # a float64 may be beyond float32: silence, see pick()
        return frames.astype(np.float32)
