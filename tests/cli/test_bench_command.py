"""`phi4audio bench`: figures of a checkpoint on this machine."""

from __future__ import annotations

import json

import pytest

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.cli.app import main


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as request:
        main(["bench", "--model", "demo", "--device", "cpu", "--offline", *arguments])
    return int(request.value.code or 0)


@pytest.mark.slow
def test_figures_match_the_checkpoint(capsys) -> None:
    assert bench("--json", "--minutes", "0.5", "--batch-size", "2", "--dtype", "float32") == 0
    found = json.loads(capsys.readouterr().out)
    checkpoint = open_checkpoint(resolve_model("demo", offline=True))
    assert found["parameters"] == checkpoint.audio_parameters
    assert found["weight_bytes"] == 4 * found["parameters"]
    assert found["audio_seconds"] == pytest.approx(30)
    assert found["batch_size"] == 2
    assert found["tokens_per_second"] > 0
    assert found["rtfx"] > 0
    assert found["peak_memory"] > found["weight_bytes"]


@pytest.mark.slow
def test_plain_output_has_one_line_per_figure(capsys) -> None:
    assert bench("--minutes", "0.2") == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[:12].strip() for line in lines]
    assert names == [
        "model", "device", "parameters", "weights", "peak memory", "tokens/s", "RTFx"
    ]  # fmt: skip


def test_a_missing_model_is_reported(capsys) -> None:
    with pytest.raises(SystemExit) as request:
        main(["bench", "--model", "no/such", "--offline"])
    assert request.value.code == 3
    assert "no/such" in capsys.readouterr().err
