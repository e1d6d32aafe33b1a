"""Recordings decoded by FFmpeg's libraries: MP4, M4A, WebM, MKV, video and others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from phi4audio_cli.audio.audio_source import (
    VALID_SAMPLE_RATES,
    LenientFile,
    NoAudioError,
    NoTrackError,
    RatedFrames,
    truncation,
)

if TYPE_CHECKING:
    import numpy.typing as npt

CONTAINER_OPTIONS = {"protocol_whitelist": "none"}
"""A playlist must not cause access to other files or the network."""


class FFmpegSource:
    """One audio stream of a container.

    Args:
        file: Opened for reading, at its start.
        track: Index of the audio stream.

    Raises:
        NoTrackError: It has fewer audio streams.
        NoAudioError: FFmpeg does not know the container, or no audio can be decoded.
    """

    def __init__(self, file: BinaryIO, track: int = 0) -> None:
        import av

        # An OSError comes from the file, below FFmpeg.
        self._decode_errors = (av.error.FFmpegError, OSError)
        self.damage: str | None = None
        try:
            self._container: Any = av.open(
                LenientFile(file), mode="r", metadata_errors="replace", options=CONTAINER_OPTIONS
            )
        except (*self._decode_errors, ValueError) as error:
            raise NoAudioError(_error_text(error)) from error
        try:
            self._open_track(track)
        except BaseException:
            self._container.close()
            raise

    def _open_track(self, track: int) -> None:
        streams = self._container.streams.audio
        if not streams:
            raise NoAudioError("no audio stream")
        if not 0 <= track < len(streams):
            raise NoTrackError(len(streams))
        self._stream: Any = streams[track]
        self._decoded_frames = self._decode()
        # The codec may know its real rate only after the first frame.
        self._first_frame: Any = next(self._decoded_frames, None)
        if self._first_frame is None:
            raise NoAudioError(self.damage or "no audio frames")
        self.rate: int = self._first_frame.sample_rate
        self.channels: int = len(self._first_frame.layout.channels)
        self._track_seconds = self._length_by_track()
        self.seconds = self._track_seconds or self._length_by_container()

    def _length_by_track(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        # With several streams, the container's length may be that of another.
        return self._length_by_container() if len(self._container.streams) == 1 else None

    def _length_by_container(self) -> float | None:
        import av

        return float(self._container.duration / av.time_base) if self._container.duration else None

    def _decode(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                yield from packet.decode()
            except self._decode_errors as error:  # one bad packet; the next ones may be intact
                self.damage = _error_text(error)

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except self._decode_errors as error:
            self.damage = _error_text(error)

    def frames(self) -> Iterator[RatedFrames]:
        """Yield (sample rate, float32 of shape (length, channels))."""
        seconds = 0.0
        for frame in _merge_frames(
            self._with_valid_rate(itertools.chain([self._first_frame], self._decoded_frames))
        ):
            samples = _to_float32(frame)
            seconds += len(samples) / frame.sample_rate
            yield frame.sample_rate, samples
        problems = (self.damage, truncation(seconds, self._track_seconds))
        self.damage = "; ".join(filter(None, problems)) or None

    def _with_valid_rate(self, frames: Iterable[Any]) -> Iterator[Any]:
        for frame in frames:
            if frame.sample_rate in VALID_SAMPLE_RATES:
                yield frame
            else:
                self.damage = f"a sample rate of {frame.sample_rate} Hz"

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()


def _error_text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _merge_frames(frames: Iterable[Any]) -> Iterator[Any]:
    """Join frames of the same format to about a second; each call costs as much as a long one."""
    import av

    for _, group in itertools.groupby(frames, _frame_format):
        fifo = av.AudioFifo()
        for frame in group:
            frame.pts = None  # the fifo refuses jumps of the time, as after lost packets
            fifo.write(frame)
            if fifo.samples >= frame.sample_rate:
                yield fifo.read()
        if fifo.samples:
            yield fifo.read()


def _frame_format(frame: Any) -> tuple[object, ...]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _to_float32(frame: Any) -> npt.NDArray[Any]:
    """Return a decoded frame as float32 in [-1, 1], shape (length, channels)."""
    data: npt.NDArray[Any] = frame.to_ndarray()
    channels = len(frame.layout.channels)
    frames = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if frames.dtype == np.uint8:
        return (frames.astype(np.float32) - 128) / 128
    if np.issubdtype(frames.dtype, np.integer):
        return (frames / -float(np.iinfo(frames.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # float64 may exceed float32; `select_channel` replaces it
        return frames.astype(np.float32)
