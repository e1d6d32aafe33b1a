"""Small stand-ins for what the engine says, and for recordings."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from phi4audio_cli.types import (
    WIDE_BAND,
    Chunk,
    ChunkDone,
    FileDone,
    Generation,
    Job,
    Request,
    Segment,
    Transcript,
)


def make_job(index: int = 0, name: str = "talk.wav") -> Job:
    return Job(index, Path(name), {"txt": Path(name).with_suffix(".txt")})


def make_chunk_done(of: Job, seconds: float, text: str = "hello", index: int = 0) -> ChunkDone:
    samples = np.zeros(int(seconds * WIDE_BAND), np.float32)
    request = Request(of.index, Chunk(index, samples, WIDE_BAND, 0), "prompt", 10)
    return ChunkDone(of, Generation(request, text, (1, 2), (-0.1, -0.3), "stop"))


def make_file_done(of: Job, seconds: float, text: str = "hello") -> FileDone:
    segments = (Segment(0, 0.0, seconds, text, "chunk"),)
    return FileDone(of, Transcript(text, None, segments, seconds, "prompt"))


def write_tone(path: Path, seconds: float = 1.0) -> Path:
    """Write a quiet tone as 16-bit mono WAV."""
    times = np.arange(int(seconds * WIDE_BAND)) / WIDE_BAND
    samples = (3000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(WIDE_BAND)
        out.writeframes(samples.tobytes())
    return path
