"""Retries in the pipeline: samples of the halves, and independence of the order of answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import FileDone, Generation, Job, Request, Transcript

RATE = 16_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    samples = np.random.default_rng(3).normal(0, 0.1, 25 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", samples, RATE, subtype="FLOAT")
    return tmp_path / "talk.wav"


def scripted_answer(request: Request) -> str | Generation:
    """Loop in all whole chunks except the second; answer well about the halves."""
    if request.attempt == "first" and request.chunk.index != 1:
        return Generation(request, "so " * 200, (1,), (0.0,), "length")
    return f"from {request.chunk.start} on"


def transcribe(recording: Path, window: int | None) -> tuple[Transcript, list[Request]]:
    backend = ScriptedBackend(scripted_answer, batch_size=window)
    task = Transcribe("English")
    events = run_pipeline(
        [Job(0, recording)],
        lambda job: task,
        backend,
        chunk_seconds=10,
        source_options=SourceOptions([InProcessReader()]),
    )
    [done] = [event for event in events if isinstance(event, FileDone)]
    return done.result, backend.requests


def test_the_result_does_not_depend_on_the_order_of_answers(recording: Path):
    result, requests = transcribe(recording, window=1)
    assert [each.tried for each in result.segments] == [
        ("first", "halves"), ("first", "halves"), (), ("first", "halves"), ("first", "halves"),
    ]  # fmt: skip
    assert len(requests) == 3 + 4
    for window in (2, None):
        assert transcribe(recording, window)[0] == result


def test_halves_hold_the_recording_s_samples(recording: Path):
    _, requests = transcribe(recording, window=None)
    samples, _ = soundfile.read(recording, dtype="float32")
    for chunk in (request.chunk for request in requests):
        assert np.array_equal(chunk.samples, samples[chunk.start : chunk.stop])
