"""Recordings are read while the model is loaded."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.reading import ReaderHere
from phi4audio_cli.cli.loading import LateBackend, without_collecting
from phi4audio_cli.engine import Intake, ScriptedBackend, run
from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.types import FileDone, Job
from tests.cli.samples import write_tone


def test_it_reads_before_the_model_is_there(tmp_path: Path):
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

    loaded: list[bool] = []
    late = LateBackend(load, lambda: loaded.append(True))
    intake = Intake(readers=[ReaderHere(open=opening)])
    jobs = [Job(0, tmp_path / "a.wav")]
    events = list(run(jobs, Transcribe("English"), late, chunk_seconds=40, intake=intake))
    assert isinstance(events[-1], FileDone)
    assert loaded == [True]


def test_it_is_opened_once_and_only_for_what_may_not_fit():
    made: list[ScriptedBackend] = []

    def load() -> ScriptedBackend:
        made.append(ScriptedBackend(lambda request: "", longest=100.0))
        return made[0]

    late = LateBackend(load, lambda: None)
    assert late.longest_chunk(40.0) == 40.0
    assert not made
    assert late.longest_chunk(600.0) == 100.0
    assert list(late.generate([])) == []
    assert len(made) == 1


def test_what_goes_wrong_while_loading_is_told():
    def load() -> ScriptedBackend:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        list(LateBackend(load, lambda: None).generate([]))


def test_garbage_is_looked_for_again_afterwards():
    assert gc.isenabled()
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()
