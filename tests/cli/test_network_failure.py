"""A network whose code fails ends the run with exit code 1 at the first recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.network.phi4 import Phi4Audio

COMMAND = ["transcribe", "a.wav", "b.wav", "c.wav", "--model", "demo", "--device", "cpu"]


@pytest.mark.parametrize("method", ["encode_clips", "prefill"])
def test_a_failing_network_ends_the_run_with_one_line(home: Path, monkeypatch, capfd, method):
    calls: list[str] = []

    def fail(*arguments: object) -> None:
        calls.append(method)
        raise TypeError("update() got an unexpected keyword argument 'kwargs'")

    monkeypatch.setattr(Phi4Audio, method, fail)
    with pytest.raises(SystemExit) as ended:
        main([*COMMAND, "--dtype", "float32", "--batch-size", "1", "-f", "txt", "-o", "out"])
    assert ended.value.code == 1
    assert len(calls) == 1
    _, err = capfd.readouterr()
    [line] = [line for line in err.splitlines() if "TypeError" in line]
    assert "update() got an unexpected keyword argument" in line
    assert "phi4audio doctor" in line
    assert "Traceback" not in err
    assert not list((home / "out").glob("*.txt"))
