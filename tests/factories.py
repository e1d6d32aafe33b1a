"""Events, recordings and sessions for tests.

The tests of the commands replace `phi4audio_cli.cli.local_run.open_session`, and nothing else, to
answer from a script: by the fixture `use_backend` of tests/cli/conftest.py, or in a subprocess by
`local_run.open_session = session_factory(backend)`.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from phi4audio_cli.audio.reader import InProcessReader, Reader
from phi4audio_cli.backend_loader import Listener
from phi4audio_cli.pipeline.backend import Backend, ShouldStop, never_stop
from phi4audio_cli.session import Session
from phi4audio_cli.settings import Settings
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


class RefusingBackend:
    """Fails the test if the model would be loaded."""

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation]:
        raise AssertionError("a model was loaded")

    def longest_chunk(self, wanted: float) -> float:
        raise AssertionError("a model was loaded")


def session_factory(
    backend: Backend, readers: Sequence[Reader] = ()
) -> Callable[[Settings, Listener], Session]:
    """Return a stand-in for `cli.local_run.open_session`.

    Args:
        backend: Answers in place of the model, whose name then is its fingerprint.
        readers: None: as many as the settings say, all in this process.
    """

    def open_session(settings: Settings, listener: Listener) -> Session:
        count = 1 if settings.readers == "auto" else settings.readers
        in_process = [InProcessReader()] * count
        return Session(
            settings=settings, listener=listener, backend=backend, readers=readers or in_process
        )

    return open_session
