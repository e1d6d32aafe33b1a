"""The functions that the speed benchmark times exist."""

from __future__ import annotations

from benchmarks.speed.phi4audio_run import READER_STAGES, STAGES


def test_timed_functions_exist() -> None:
    stages = (*STAGES, *READER_STAGES)
    assert [name for owner, attribute, name in stages if not hasattr(owner, attribute)] == []
