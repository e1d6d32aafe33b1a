"""Where samples come from: one small class a decoding library.

A source has the recording's own rate and length, and yields (rate, mono float32) pieces. It
delivers all that can be decoded; what went wrong on the way is remembered as its `damage`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from phi4audio_cli.types import Samples

if TYPE_CHECKING:
    import numpy.typing as npt

LOUDEST = 2.0**31
"""No real sample is larger, whatever its scale: beyond it a float file is damaged."""

FRAMES_A_READ = 4096
"""A failed read loses its frames, so reads are short."""

HEADER_SLACK = 0.5
"""Containers round their lengths and count encoder delay, seconds."""


OPTIONS = {"protocol_whitelist": "none"}
"""For FFmpeg. A playlist must not make the program read other files, or the network."""


class NoAudioError(Exception):
    """A source can't be made from a file; the message says why."""


class Source(Protocol):
    """An opened recording."""

    rate: int
    """Sample rate of the first piece, Hz."""
    seconds: float | None
    """Length by the header; None where it doesn't say."""
    damage: str | None
    """What went wrong while decoding, known when the pieces end."""

    def pieces(self) -> Iterator[tuple[int, Samples]]:
        """Yield (sample rate, mono float32 of shape (length,))."""
        ...

    def close(self) -> None:
        """Free the decoder; the file is the caller's."""
        ...


def mono(frames: npt.NDArray[Any]) -> Samples:
    """Average channels; what can't be a sample becomes silence.

    Args:
        frames: float32, shape (length, channels).

    Returns:
        Shape (length,), C-contiguous.
    """
    sound = np.abs(frames) <= LOUDEST  # False for NaN and infinities too
    if not sound.all():
        frames = np.where(sound, frames, np.float32(0))
    # Whole columns: numpy's mean over a short last axis takes several times as long.
    total: Samples = np.array(frames[:, 0], dtype=np.float32)
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total


class SoundfileSource:
    """WAV, FLAC, Ogg, MP3, AIFF, CAF, ... through libsndfile.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: libsndfile can't read it, or finds no frame in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        import soundfile

        self._error = soundfile.LibsndfileError
        try:
            self._file = soundfile.SoundFile(_Patient(file))
        except soundfile.LibsndfileError as error:
            raise NoAudioError(error.error_string.rstrip(".")) from error
        if self._file.frames <= 0:
            self._file.close()
            raise NoAudioError("no audio frames")
        # soundfile seeks after every read of a seekable file, and an MP3 decoder that was made to
        # seek has lost the bits it carries from frame to frame: it sounds broken from there.
        self._file.seekable = lambda: False
        self.rate: int = self._file.samplerate
        self.seconds: float | None = self._file.frames / self.rate
        self.damage: str | None = None

    def pieces(self) -> Iterator[tuple[int, Samples]]:
        """Yield (sample rate, mono float32)."""
        count = 0
        try:
            while len(frames := self._read()):
                count += len(frames)
                yield self.rate, mono(frames)
        except self._error as error:
            self.damage = error.error_string.rstrip(".") or "decoding failed"
        seconds = count / self.rate
        if self.damage is None and self.seconds and seconds < self.seconds - HEADER_SLACK:
            self.damage = f"ends after {seconds:.1f} s of {self.seconds:.1f} s"

    def _read(self) -> npt.NDArray[Any]:
        frames: npt.NDArray[Any] = self._file.read(FRAMES_A_READ, dtype="float32", always_2d=True)
        return frames

    def close(self) -> None:
        """Free the decoder."""
        self._file.close()


class AvSource:
    """Whatever FFmpeg's libraries read (MP4, M4A, WebM, MKV, video): its first audio stream.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: Not a container FFmpeg knows, no audio stream, or none of it decodes.
    """

    def __init__(self, file: BinaryIO) -> None:
        import av

        # An OSError is what reading or seeking in the file raised, below FFmpeg.
        self._error = (av.error.FFmpegError, OSError)
        self.damage: str | None = None
        try:
            # No protocol: a playlist must not make the program read other files or the network.
            self._container: Any = av.open(
                _Patient(file),
                mode="r",
                metadata_errors="replace",
                options={"protocol_whitelist": "none"},
            )
        except (*self._error, ValueError) as error:
            raise NoAudioError(_reason(error)) from error
        try:
            self._begin()
        except BaseException:
            self._container.close()
            raise

    def _begin(self) -> None:
        streams = self._container.streams.audio
        if not streams:
            raise NoAudioError("no audio stream")
        self._stream: Any = streams[0]
        self._frames = self._decode()
        # The codec may only know its real rate when it has decoded something.
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise NoAudioError(self.damage or "no audio frames")
        self.rate: int = self._first.sample_rate
        self.seconds = self._header_seconds()

    def _header_seconds(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            import av

            return float(self._container.duration / av.time_base)
        return None

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

    def pieces(self) -> Iterator[tuple[int, Samples]]:
        """Yield (sample rate, mono float32)."""
        seconds = 0.0
        for frame in _joined(itertools.chain([self._first], self._frames)):
            samples = mono(_as_float(frame))
            seconds += len(samples) / frame.sample_rate
            yield frame.sample_rate, samples
        promised = self._stream.duration and self.seconds
        if self.damage is None and promised and seconds < promised - HEADER_SLACK:
            self.damage = f"ends after {seconds:.1f} s of {promised:.1f} s"

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()


class _Patient:
    """A file in which seeking to an impossible place fails, but raises nothing.

    soundfile and PyAV print tracebacks of what is raised while their libraries look around in a
    damaged file. It has no name either, so no extension misleads them (.raw does).
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.readinto = file.readinto  # type: ignore[attr-defined]
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, and return it; -1 where there is none."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


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
    with np.errstate(over="ignore"):  # a float64 may be beyond float32: silence, see mono()
        return frames.astype(np.float32)
