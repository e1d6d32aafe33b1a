"""The bundled demo checkpoint on the bundled samples, through the real engine and backend."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import jiwer
import numpy as np
import pytest

from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import FileDone, Job, Transcript

SAMPLES = Path(__file__).resolve().parents[1] / "phi4audio_cli" / "demo" / "samples"
RECORDINGS = sorted(SAMPLES.glob("*.flac"))
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def backend() -> TorchBackend:
    return open_torch_backend(resolve_model("demo", offline=True), device="cpu", dtype="float32")


def transcribe(backend: TorchBackend, batch_size: int) -> dict[str, Transcript]:
    backend.batch_size = batch_size
    jobs = [Job(index, path) for index, path in enumerate(RECORDINGS)]
    reader = InProcessReader(chunker=partial(chunk_speech, detector=SileroDetector()))
    task = Transcribe()
    events = run_pipeline(
        jobs,
        lambda job: task,
        backend,
        chunk_seconds=40.0,
        source_options=SourceOptions([reader]),
    )
    return {event.job.source.stem: event.result for event in events if isinstance(event, FileDone)}


@pytest.fixture(scope="module")
def transcripts(backend: TorchBackend) -> dict[str, Transcript]:
    return transcribe(backend, batch_size=8)


def load_reference(name: str) -> dict:
    return json.loads((SAMPLES / f"{name}.ref.json").read_text(encoding="utf-8"))


def test_the_checkpoint_is_small_and_stripped():
    folder = resolve_model("demo", offline=True)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MAX_BYTES
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "phi4_multimodal"


def test_samples_are_many_one_long_one_stereo():
    references = [load_reference(path.stem) for path in RECORDINGS]
    assert len(references) >= 5
    assert max(reference["words"][-1]["end"] for reference in references) > 120


def test_digits_are_transcribed(transcripts: dict[str, Transcript]):
    references = [load_reference(name)["text"] for name in transcripts]
    texts = [result.text for result in transcripts.values()]
    assert len(texts) == len(RECORDINGS)
    assert jiwer.wer(references, texts) <= 0.03


@pytest.mark.slow
def test_batch_size_does_not_change_transcripts(
    backend: TorchBackend, transcripts: dict[str, Transcript]
):
    assert transcribe(backend, batch_size=1) == transcripts


def test_word_times_match_the_reference(transcripts: dict[str, Transcript]):
    errors = []
    for name, result in transcripts.items():
        words = [word for segment in result.segments for word in segment.words]
        expected = load_reference(name)["words"]
        edges = [edge for word in words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        if [word.word.strip() for word in words] == [word["word"] for word in expected]:
            pairs = zip(words, expected, strict=True)
            errors += [abs(word.start - one["start"]) for word, one in pairs]
    assert len(errors) >= 20
    assert np.median(errors) <= 0.08
    assert np.percentile(errors, 90) <= 0.2
