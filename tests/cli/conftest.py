"""What the command's tests share."""

from __future__ import annotations

from types import TracebackType

import pytest

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.cli import run


class Here:
    """Decodes in this process: the commands' tests need no other one each."""

    open = staticmethod(open_audio)

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
def _decode_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Decoder", Here)


@pytest.fixture(autouse=True)
def _any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is looked for: tests that load one do so by `open_backend`."""
    monkeypatch.setattr(run, "identify_model", lambda settings, display: settings.model)
