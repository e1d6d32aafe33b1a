"""What many chunks at once need: predicted, and real in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phi4audio_cli.model import need as needs
from phi4audio_cli.model.need import MOST_ROWS, Need, rows_that_fit
from tests.model.small import real_config, small_model

GB = 1e9
BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench_memory.py"


def gpu() -> Need:
    return Need(real_config(), itemsize=2, on_gpu=True)


def test_keys_and_values_are_the_bulk_on_a_gpu():
    """131 kB a position in bfloat16: 64 rows of 1,280 positions take 10.7 GB."""
    assert 1280 * 64 * gpu().cache_per_position == pytest.approx(10.7 * GB, rel=0.01)
    assert 10.7 * GB < gpu().peak(64, 40, 664) < 20 * GB


@pytest.mark.parametrize("on_gpu", [True, False])
def test_more_of_anything_needs_more(on_gpu: bool):
    need = Need(real_config(), itemsize=2, on_gpu=on_gpu)
    usual = need.peak(4, 20, 300)
    assert usual < need.peak(8, 20, 300)
    assert usual < need.peak(4, 40, 300)
    assert usual < need.peak(4, 20, 900)
    assert usual < Need(real_config(), 4, on_gpu).peak(4, 20, 300)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_never_more_rows_than_fit_or_pay(on_gpu: bool):
    need = Need(real_config(), itemsize=2, on_gpu=on_gpu)
    for free in (0, 1 * GB, 3 * GB, 6 * GB, 12 * GB, 1000 * GB):
        rows = need.most_rows(free, 40, 664)
        assert 1 <= rows <= MOST_ROWS
        assert rows == 1 or need.peak(rows, 40, 664) <= free
        assert rows == MOST_ROWS or need.peak(rows + 1, 40, 664) > free
    assert need.most_rows(0, 40, 664) == 1
    assert need.most_rows(1000 * GB, 40, 664) == MOST_ROWS


def test_what_the_weights_take_is_not_free(monkeypatch: pytest.MonkeyPatch):
    model = small_model()
    weights = sum(one.numel() * 4 for one in model.parameters())
    need = Need(model.config, 4, on_gpu=False)
    room = need.peak(3, 40, needs.USUAL_TOKENS) / needs.FREE_SHARE
    monkeypatch.setattr(needs, "free_memory", lambda device: weights + room)
    assert rows_that_fit(model, torch.device("cpu"), torch.float32) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_predicted_peak_is_the_real_one():
    """Eight chunks of 20 s through the demo: beside the weights it takes about 80 MB."""
    command = [sys.executable, BENCH, "--here", "--models", "demo", "--words"]
    command += ["--rows", "8", "--seconds", "20", "--tokens", "200"]
    # Libraries keep buffers for each thread.
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    figures = json.loads(done.stdout.splitlines()[-1])
    real = figures["peak"] - figures["before"]
    assert 0.66 < figures["need"] / real < 1.5
    assert 0.85 < (figures["before"] + figures["need"]) / figures["peak"] < 1.15
