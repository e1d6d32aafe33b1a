"""The lazy backend: recordings are read while the model is loaded."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.pipeline.backend import LazyBackend, ScriptedBackend
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import FileDone, Job
from tests.factories import write_tone


def test_recordings_are_read_while_the_model_loads(tmp_path: Path):
    write_tone(tmp_path / "a.wav", 1.0)
    opened = threading.Event()

    @contextmanager
    def opening(*given, **named):
        opened.set()
        with open_audio(*given, **named) as audio:
            yield audio

    def load() -> ScriptedBackend:
        assert opened.wait(30), "nothing is read while the model is loaded"
        return ScriptedBackend(lambda request: "said")

    task = Transcribe("English")
    events = list(
        run_pipeline(
            [Job(0, tmp_path / "a.wav")],
            lambda job: task,
            LazyBackend(load),
            chunk_seconds=40,
            source_options=SourceOptions([InProcessReader(opener=opening)]),
        )
    )
    assert isinstance(events[-1], FileDone)


def test_backend_opens_once_and_only_for_long_chunks():
    made: list[ScriptedBackend] = []

    def load() -> ScriptedBackend:
        made.append(ScriptedBackend(lambda request: "", max_chunk_seconds=100.0))
        return made[0]

    lazy = LazyBackend(load)
    assert lazy.longest_chunk(40.0) == 40.0
    assert not made
    assert lazy.longest_chunk(600.0) == 100.0
    assert list(lazy.generate([])) == []
    assert len(made) == 1


def test_errors_while_loading_are_raised():
    def load() -> ScriptedBackend:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        list(LazyBackend(load).generate([]))
