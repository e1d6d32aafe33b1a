"""Recordings decoded by FFmpeg's libraries: MP3, Ogg, MP4, WebM, MKV, video and others."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from phi4audio_cli.audio.audio_source import (
    VALID_SAMPLE_RATES,
    Frames,
    LenientFile,
    NoAudioError,
    NoTrackError,
    join_damage,
    truncation,
)
from phi4audio_cli.audio.containers import (
    is_fragmented_mp4,
    is_truncated_fragment,
    matroska_declares_duration,
    mp3_declared_seconds,
)
from phi4audio_cli.audio.data_size import declared_share
from phi4audio_cli.audio.media_clock import (
    LOOKAHEAD_FRAMES,
    TOLERANCE_SECONDS,
    FrameTime,
    MediaClock,
)
from phi4audio_cli.audio.packet_times import FlacTimes, PacketTimes, TimesBySize

if TYPE_CHECKING:
    import numpy.typing as npt

CONTAINER_OPTIONS = {"protocol_whitelist": "none"}
"""A playlist must not cause access to other files or the network."""

TIMED_FORMATS = frozenset(
    """
    asf avi flv live_flv matroska mov mpeg mpegts mxf nut ogg rm webm wtv
    """.split()  # noqa: SIM905
)
"""Containers that store time stamps. FFmpeg counts samples in all others."""

INDEXED_FORMATS = frozenset(
    """
    ape asf avi flv matroska mov mxf rm tak tta webm wv
    """.split()  # noqa: SIM905
)
"""Containers that store the length of the audio. FFmpeg estimates it for some others."""

RAW_STREAMS = frozenset({"ac3", "dts", "eac3", "mp3"})
"""Streams of frames without a container, whose parsers return damaged parts as packets."""

TAG_MAGICS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
"""Beginnings of tags between joined MP3 and AAC files, which decoders take for damage."""

UNKNOWN_CHANNELS = frozenset({"NONE", "UNK", "UNSD"})
"""FFmpeg's names of channels without a known position."""

REPEAT_WINDOW_PACKETS = 128
"""Packets among which a repeated one is searched: some 3 s."""


class FFmpegSource:
    """One audio stream of a container, on the time line that a player shows.

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
        self._file = file
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
        self._formats = frozenset(self._container.format.name.split(","))
        self._is_timed = bool(self._formats & TIMED_FORMATS)
        self._packet_times = self._make_packet_times()
        self._decoded_frames = self._decode()
        # The codec may know its real rate only after the first frame.
        self._first_frame: Any = next(self._decoded_frames, None)
        if self._first_frame is None:
            raise NoAudioError(self.damage or "no audio frames")
        self.rate: int = self._first_frame.sample_rate
        self.channels: int = len(self._first_frame.layout.channels)
        first_time = self._first_frame.time if self._is_timed else None
        if self._packet_times:
            first_time = self._packet_times.next_time(0.0)
        self._first_time = first_time or 0.0
        self._clock = MediaClock(self._origin())
        self.seconds = self._declared_end()

    @property
    def layout(self) -> tuple[str, ...]:
        """Names of the channels of the first frame; empty if unknown."""
        return _layout(self._first_frame)

    def _origin(self) -> float:
        """Return the time stamp that players show as 0, the earliest of video and audio."""
        import av

        pictures = av.stream.Disposition.attached_pic
        starts = [
            float(stream.start_time * stream.time_base)
            for stream in self._container.streams
            if stream.type in ("audio", "video")
            and stream is not self._stream
            and stream.start_time is not None
            and not stream.disposition & pictures
        ]
        # Negative time stamps are those of samples that decoders drop.
        return min([self._first_time, *(max(0.0, start) for start in starts)])

    def _declared_end(self) -> float | None:
        """Return the end of the stream that the container declares, on the player's time line."""
        if "mp3" in self._formats:
            return mp3_declared_seconds(self._file)
        if not self._formats & INDEXED_FORMATS:
            return None
        if "matroska" in self._formats:
            end = self._matroska_end()
        elif "mov" in self._formats and is_fragmented_mp4(self._file):
            end = None  # its length includes the start of the track, or does not
        else:
            length = self._track_length() or self._length_of_only_stream()
            end = None if length is None else self._first_time + length
        return None if end is None else end - self._origin()

    def _matroska_end(self) -> float | None:
        if not matroska_declares_duration(self._file):
            return None
        tagged = _seconds_of_tag(self._stream.metadata.get("DURATION", ""))
        return tagged or self._length_of_only_stream()

    def _track_length(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return None

    def _length_of_only_stream(self) -> float | None:
        """Return the container's length, unless it may be that of another stream."""
        import av

        if len(self._container.streams) > 1 or not self._container.duration:
            return None
        return float(self._container.duration / av.time_base)

    def _decode(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._decode_errors as error:  # one bad packet; the next ones may be intact
                if not bytes(packet).startswith(TAG_MAGICS):
                    self.damage = _error_text(error)
                    if self._packet_times:
                        self._packet_times.add_damaged(bytes(packet))
                continue
            if self._packet_times and frames:
                length = sum(frame.samples for frame in frames)
                self._packet_times.add_decoded(bytes(packet), length, frames[0].sample_rate)
            yield from frames

    def _make_packet_times(self) -> PacketTimes | None:
        if "flac" in self._formats:
            return FlacTimes()
        return TimesBySize() if self._formats & RAW_STREAMS else None

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._without_repeats(self._container.demux(self._stream))
        except self._decode_errors as error:
            self.damage = _error_text(error)

    def _without_repeats(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Drop packets that were sent twice: equal ones with the same time stamp."""
        recent: dict[int, Any] = {}
        """Packets by their time stamps, in the order of the file."""
        for packet in packets:
            if packet.pts is not None and self._is_timed:
                if (same_time := recent.get(packet.pts)) and bytes(same_time) == bytes(packet):
                    continue
                recent[packet.pts] = packet
                if len(recent) > REPEAT_WINDOW_PACKETS:
                    del recent[next(iter(recent))]
            yield packet

    def frames(self) -> Iterator[Frames]:
        """Yield the audio of the stream, with silence where its time stamps leave gaps."""
        frames = self._with_valid_rate(itertools.chain([self._first_frame], self._decoded_frames))
        buffer = _FrameBuffer()
        frame = self._first_frame
        for frame, time, following in self._with_lookahead(frames):
            silence, skip = self._clock.place(time, following)
            if silence or skip:
                yield from buffer.flush()
                yield from _silence(frame, silence)
            if skip:
                yield Frames(frame.sample_rate, _to_float32(frame)[skip:], _layout(frame))
            else:
                yield from buffer.push(frame)
        yield from buffer.flush()
        yield from _silence(frame, self._missing_at_end(frame.sample_rate))
        cut_off = is_truncated_fragment(self._file) if "mov" in self._formats else False
        self.damage = join_damage(
            self.damage,
            self._clock.damage,
            truncation(self._clock.position, self.seconds or self._seconds_by_size()),
            "cut off within an MP4 fragment" if cut_off else None,
        )

    def _seconds_by_size(self) -> float | None:
        """Return the length by the declared bytes of samples, for files that libsndfile rejects."""
        share = declared_share(self._file)
        return None if share is None else self._clock.position * share

    def _missing_at_end(self, rate: int) -> int:
        """Return the samples by which FFmpeg's Vorbis decoder ends too early.

        They count where streams are chained: the last page of each stores its end.
        """
        length = self._track_length() if "ogg" in self._formats else None
        missing = (length or 0.0) - self._clock.position
        return round(missing * rate) if 0 < missing <= TOLERANCE_SECONDS else 0

    def _with_lookahead(
        self, frames: Iterable[Any]
    ) -> Iterator[tuple[Any, FrameTime, Iterable[FrameTime]]]:
        """Yield each frame with its time, and with the times of the frames after it."""
        queue: deque[tuple[Any, FrameTime]] = deque()
        for frame in frames:
            queue.append((frame, self._timed(frame)))
            if len(queue) > LOOKAHEAD_FRAMES:
                yield *queue.popleft(), (time for _, time in queue)
        while queue:
            yield *queue.popleft(), (time for _, time in queue)

    def _timed(self, frame: Any) -> FrameTime:
        time = frame.time if self._is_timed else None
        if self._packet_times:
            time = self._packet_times.next_time(frame.samples / frame.sample_rate)
        return FrameTime(time, frame.samples, frame.sample_rate)

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


def _seconds_of_tag(text: str) -> float | None:
    """Return the seconds of a Matroska tag such as `00:00:21.300000000`."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _layout(frame: Any) -> tuple[str, ...]:
    """Return FFmpeg's names of a frame's channels; empty if it does not know them."""
    names = tuple(channel.name for channel in frame.layout.channels)
    return names if UNKNOWN_CHANNELS.isdisjoint(names) else ()


def _silence(frame: Any, length: int) -> Iterator[Frames]:
    """Yield silence of the format of a frame, a second at a time."""
    rate, channels = frame.sample_rate, len(frame.layout.channels)
    for start in range(0, length, rate):
        count = min(rate, length - start)
        yield Frames(rate, np.zeros((count, channels), np.float32), _layout(frame))


class _FrameBuffer:
    """Joins frames of the same format to about a second; each call costs as much as a long one."""

    def __init__(self) -> None:
        self._fifo: Any = None
        self._format: tuple[object, ...] = ()
        self._names: tuple[str, ...] = ()

    def push(self, frame: Any) -> Iterator[Frames]:
        """Add a frame; yield the buffered audio if it is long enough or of another format."""
        import av

        kind = (frame.sample_rate, frame.format.name, frame.layout.name)
        if kind != self._format or self._fifo is None:
            yield from self.flush()
            self._fifo, self._format, self._names = av.AudioFifo(), kind, _layout(frame)
        frame.pts = None  # the fifo refuses jumps of the time, as after lost packets
        self._fifo.write(frame)
        if self._fifo.samples >= frame.sample_rate:
            yield from self.flush()

    def flush(self) -> Iterator[Frames]:
        """Yield the buffered audio."""
        if self._fifo is not None and self._fifo.samples:
            frame = self._fifo.read()
            yield Frames(frame.sample_rate, _to_float32(frame), self._names)


def _to_float32(frame: Any) -> npt.NDArray[Any]:
    """Return a decoded frame as float32 in [-1, 1], shape (length, channels)."""
    data: npt.NDArray[Any] = frame.to_ndarray()
    channels = len(frame.layout.channels)
    frames = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if frames.dtype == np.uint8:
        return (frames.astype(np.float32) - 128) / 128
    if np.issubdtype(frames.dtype, np.integer):
        return (frames / -float(np.iinfo(frames.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # float64 may exceed float32; `Downmixer` replaces it
        return frames.astype(np.float32)
