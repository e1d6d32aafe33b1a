"""What the command's tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from phi4audio_cli.audio.reader import Reader
from phi4audio_cli.cli import local_session
from phi4audio_cli.pipeline import ScriptedBackend
from tests.factories import write_tone

from .cli_runner import Answer, say_length


class InProcessReaderPool:
    """Reads in this process: the commands' tests need no other one each."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def get(self, count: int) -> Sequence[Reader]:
        return [self._reader] * count

    def __enter__(self) -> InProcessReaderPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_vad(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings made here are tones, which no detector takes for speech."""
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")


@pytest.fixture(autouse=True)
def _read_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_session, "ReaderProcesses", InProcessReaderPool)


@pytest.fixture(autouse=True)
def _fake_model_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is looked for: tests that load one do so by `open_backend`."""
    monkeypatch.setattr(local_session, "identify_model", lambda settings, display: settings.model)


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

    monkeypatch.setattr(local_session, "open_backend", refuse)

    def use(function: Answer = say_length, window: int | None = 1) -> ScriptedBackend:
        scripted = ScriptedBackend(function, batch_size=window)
        monkeypatch.setattr(local_session, "open_backend", lambda settings, display: scripted)
        return scripted

    use.nobody = lambda: monkeypatch.setattr(local_session, "open_backend", refuse)  # type: ignore[attr-defined]
    return use
