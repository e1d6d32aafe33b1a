"""Small valid recordings in every format that can be written here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

SECONDS = 0.6

OGG_SECONDS = 4.0
"""Longer, because damage loses whole pages, which contain more than a second."""

SOUNDFILE_FORMATS = [
    ("wav", "PCM_16", 16000, 1),
    ("wav", "PCM_U8", 8000, 2),
    ("wav", "DOUBLE", 44100, 1),
    ("wav", "MS_ADPCM", 22050, 1),
    ("wav", "GSM610", 8000, 1),
    ("w64", "PCM_24", 16000, 1),
    ("rf64", "PCM_16", 16000, 2),
    ("aiff", "PCM_16", 22050, 2),
    ("au", "ULAW", 8000, 1),
    ("caf", "ALAC_16", 16000, 1),
    ("flac", "PCM_16", 16000, 2),
    ("ogg", "VORBIS", 16000, 1),
    ("ogg", "OPUS", 48000, 1),
    ("mp3", "MPEG_LAYER_III", 22050, 1),
]
"""Format, subtype, rate in Hz, channels."""

FFMPEG_FORMATS = [
    ("mp4", "aac", 16000, False),
    ("mp4", "aac", 44100, True),
    ("mp4", "alac", 16000, False),
    ("matroska", "pcm_f32le", 16000, True),
    ("matroska", "flac", 16000, False),
    ("webm", "libopus", 48000, False),
    ("asf", "wmav2", 44100, False),
    ("mpegts", "mp2", 16000, False),
    ("avi", "ac3", 32000, True),
]
"""Container, codec, rate in Hz, whether it has video."""


def make_recordings(folder: Path) -> dict[str, bytes]:
    """Make the recordings in a folder; return their bytes by name."""
    path = folder / "original"
    made: dict[str, bytes] = {}
    for kind, subtype, rate, channels in SOUNDFILE_FORMATS:
        wave = _test_signal(recording_seconds(kind), rate, channels)
        soundfile.write(path, wave, rate, format=kind, subtype=subtype)
        made[f"{kind}-{subtype}".lower()] = path.read_bytes()
    for container, codec, rate, picture in FFMPEG_FORMATS:
        _encode(path, container, codec, rate, picture)
        made[f"{container}-{codec}" + ("-video" if picture else "")] = path.read_bytes()
    return made


def recording_seconds(name: str) -> float:
    """Return the length of a recording."""
    return OGG_SECONDS if name.startswith("ogg") else SECONDS


def _test_signal(duration: float, rate: int, channels: int) -> np.ndarray:
    """Return a tone with noise, float32 of shape (length, channels)."""
    length = int(duration * rate)
    wave = np.random.default_rng(0).normal(0, 0.05, (length, channels))
    wave += 0.3 * np.sin(2 * np.pi * 440 * np.arange(length) / rate)[:, None]
    return wave.astype(np.float32)


def _encode(path: Path, container: str, codec: str, rate: int, picture: bool) -> None:
    options = {"movflags": "faststart"} if container == "mp4" else None
    with av.open(str(path), "w", format=container, options=options) as output:
        video = _add_video(output) if picture else None
        audio = output.add_stream(codec, rate=rate, layout="mono")
        audio.bit_rate = 64_000
        if video is not None:
            _write_picture(output, video)
        frame = av.AudioFrame.from_ndarray(_test_signal(SECONDS, rate, 1).T.copy(), "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        output.mux([*audio.encode(frame), *audio.encode(None)])


def _add_video(output: av.container.OutputContainer) -> av.VideoStream:
    video = output.add_stream("mpeg4", rate=10)
    video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
    return video


def _write_picture(output: av.container.OutputContainer, video: av.VideoStream) -> None:
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
    output.mux([*video.encode(picture), *video.encode(None)])
