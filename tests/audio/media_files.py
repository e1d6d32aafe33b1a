"""Media files of tone bursts, with a delay, lost packets or wrong time stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from phi4audio_cli.audio.decode import open_audio

from .audio_files import Array

RATE = 48000
BURST_SECONDS = 0.05

Edit = Callable[[float], list[float]]
"""Time stamps with which a packet is muxed, given its own, in seconds; none drops the packet."""


def bursts(times: Sequence[float], seconds: float, rate: int = RATE) -> Array:
    """Return silence with a short tone at each of the times."""
    wave = np.zeros(int(seconds * rate), np.float32)
    tone = np.arange(int(BURST_SECONDS * rate)) / rate
    for time in times:
        start = int(time * rate)
        wave[start : start + len(tone)] = 0.5 * np.sin(2 * np.pi * 1000 * tone)
    return wave


def burst_times(samples: Array, rate: int) -> list[float]:
    """Return when tones of `bursts` begin, seconds."""
    window = int(BURST_SECONDS * rate)
    energy = np.convolve(np.square(samples), np.ones(window), mode="full")[window - 1 :]
    found = []
    while len(energy) and energy.max() > 1e-3 * window:
        best = int(np.argmax(energy))
        found.append(best / rate)
        energy[max(0, best - 2 * window) : best + 2 * window] = 0
    return sorted(found)


def decoded_bursts(path: Path, track: int | None = None) -> tuple[list[float], str | None]:
    """Return the times of the tones in a file, and the damage."""
    with open_audio(path, track=track) as recording:
        samples = np.concatenate(list(recording.blocks()))
    return burst_times(samples, recording.info.sample_rate), recording.damage


def same_time(time: float) -> list[float]:
    return [time]


def later_by(seconds: float) -> Edit:
    return lambda time: [time + seconds]


def without(*ranges: tuple[float, float]) -> Edit:
    """Drop packets that begin in a range of times."""
    return lambda time: [] if any(start <= time < stop for start, stop in ranges) else [time]


def mux(
    path: Path,
    codec: str,
    waves: Sequence[tuple[Array, Edit]],
    *,
    video_from: float | None = 0.0,
    container_format: str | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> Path:
    """Write audio tracks, each with an edit of its packets' time stamps, and a video track.

    Args:
        path: File to write.
        codec: Audio codec.
        waves: Samples of each track, shape (length,), and the edit of its time stamps.
        video_from: Time of the first picture, seconds; None: no video.
        container_format: FFmpeg's name of the container; None: by the file's name.
        options: Options of the container.
        codec_options: Options of the audio codec.
    """
    with av.open(str(path), "w", format=container_format, options=options) as container:
        packets = []
        if video_from is not None:
            seconds = max(len(wave) for wave, _ in waves) / RATE
            codec_name = "flv" if path.suffix == ".flv" else "mpeg4"
            packets += _video_packets(container, codec_name, video_from, video_from + seconds)
        streams = [
            container.add_stream(codec, rate=RATE, layout="mono", options=codec_options)
            for _ in waves
        ]
        for stream, (wave, edit) in zip(streams, waves, strict=True):
            packets += _audio_packets(stream, wave, edit)
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            container.mux(packet)
    return path


def _video_packets(
    container, codec: str, start: float, stop: float
) -> Iterator[tuple[float, av.Packet]]:
    stream = container.add_stream(codec, rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    stream.codec_context.gop_size = 1
    stream.codec_context.max_b_frames = 0
    for number in range(int((stop - start) * 10)):
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 10)
        for packet in stream.encode(picture):
            packet.pts = packet.dts = number + round(10 * start)
            yield packet.pts / 10, packet


def _audio_packets(stream, wave: Array, edit: Edit) -> Iterator[tuple[float, av.Packet]]:
    for packet in _encoded(stream, wave):
        if packet.pts is None:
            continue
        content, base = bytes(packet), packet.time_base
        for time in edit(float(packet.pts * base)):
            copy = av.Packet(content)
            copy.stream, copy.time_base, copy.duration = stream, base, packet.duration
            copy.pts = copy.dts = round(time / base)
            yield time, copy


def _encoded(stream, wave: Array) -> Iterable[av.Packet]:
    for start in range(0, len(wave), RATE):
        part = np.ascontiguousarray(wave[None, start : start + RATE], dtype="f4")
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        if stream.format.name != "fltp":
            resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=RATE)
            for converted in resampler.resample(frame):
                yield from stream.encode(converted)
        else:
            yield from stream.encode(frame)
    yield from stream.encode(None)
