"""What the command's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _hear_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings made here are tones, which no detector takes for speech."""
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")
