"""What the command's tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from phi4audio_cli.audio.reading import Reader
from phi4audio_cli.cli import machine
from phi4audio_cli.engine import ScriptedBackend

from .runs import Answer, say_length
from .samples import write_tone


class Here:
    """Reads in this process: the commands' tests need no other one each."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def several(self, count: int) -> Sequence[Reader]:
        return [self._reader] * count

    def __enter__(self) -> Here:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


@pytest.fixture(autouse=True)
def _hear_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings made here are tones, which no detector takes for speech."""
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "Readers", Here)


@pytest.fixture(autouse=True)
def _any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is looked for: tests that load one do so by `open_backend`."""
    monkeypatch.setattr(machine, "identify_model", lambda settings, display: settings.model)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for index, name in enumerate(("a.wav", "b.wav", "c.wav"), 1):
        write_tone(tmp_path / name, float(index))
    return tmp_path


@pytest.fixture
def answer(monkeypatch) -> Callable[..., ScriptedBackend]:
    """Answers by a function from now on; nobody loads a model otherwise."""

    def refuse(settings, display) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(machine, "open_backend", refuse)

    def use(function: Answer = say_length, window: int | None = 1) -> ScriptedBackend:
        scripted = ScriptedBackend(function, window=window)
        monkeypatch.setattr(machine, "open_backend", lambda settings, display: scripted)
        return scripted

    use.nobody = lambda: monkeypatch.setattr(machine, "open_backend", refuse)  # type: ignore[attr-defined]
    return use
