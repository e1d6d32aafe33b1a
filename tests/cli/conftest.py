"""Fixtures of the tests of the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from phi4audio_cli.audio.reader import Reader
from phi4audio_cli.cli import local_run
from phi4audio_cli.pipeline.backend import Backend, ScriptedBackend
from tests.factories import RefusingBackend, session_factory, write_tone

from .cli_runner import Answer, say_length

UseBackend = Callable[..., None]


@pytest.fixture(autouse=True)
def _no_vad(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings made here are tones, which no detector takes for speech."""
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for index, name in enumerate(("a.wav", "b.wav", "c.wav"), 1):
        write_tone(tmp_path / name, float(index))
    return tmp_path


@pytest.fixture
def use_backend(monkeypatch: pytest.MonkeyPatch) -> UseBackend:
    """Returns a function after whose call commands answer by a backend, and load no model."""

    def use(backend: Backend, readers: Sequence[Reader] = ()) -> None:
        monkeypatch.setattr(local_run, "open_session", session_factory(backend, readers))

    return use


@pytest.fixture
def no_model(use_backend: UseBackend) -> None:
    """Fails the test if a model is loaded."""
    use_backend(RefusingBackend())


@pytest.fixture
def answer(use_backend: UseBackend) -> Callable[..., ScriptedBackend]:
    """Returns a function after whose call commands answer by a function; until then none may."""
    use_backend(RefusingBackend())

    def use(function: Answer = say_length, batch_size: int | None = 1) -> ScriptedBackend:
        scripted = ScriptedBackend(function, batch_size=batch_size)
        use_backend(scripted)
        return scripted

    use.refuse = lambda: use_backend(RefusingBackend())  # type: ignore[attr-defined]
    return use
