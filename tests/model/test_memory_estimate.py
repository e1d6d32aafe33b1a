"""Memory of long passes and of batches: estimates, and one real peak in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phi4audio_cli.model import memory_estimate, torch_backend
from phi4audio_cli.model.memory_estimate import (
    MAX_BATCH_SIZE,
    BatchMemory,
    LongAudioCost,
    auto_batch_size,
)
from tests.model.small import small_backend
from tests.network.networks import real_config, small_network

GB = 1e9
HALF_HOUR = 1800.0
ROOT = Path(__file__).resolve().parents[2]


def long_audio() -> LongAudioCost:
    return LongAudioCost.of(real_config(), itemsize=2)


def on_gpu() -> BatchMemory:
    return BatchMemory(real_config(), itemsize=2, on_gpu=True)


def test_the_cache_of_half_an_hour_has_the_known_size():
    """2.9 GB of keys and values in bfloat16 for 22,500 positions."""
    assert 22_500 * long_audio().cache_per_position == pytest.approx(2.95 * GB, rel=0.01)


def test_half_an_hour_fits_a_16_gb_device_with_the_weights_and_not_4_gb():
    assert 4 * GB < long_audio().peak(HALF_HOUR) < 7 * GB
    assert long_audio().longest(HALF_HOUR, 7 * GB) == HALF_HOUR
    shorter = long_audio().longest(HALF_HOUR, 3 * GB)
    assert 300 < shorter < 1500
    assert long_audio().peak(shorter) <= 3 * GB < long_audio().peak(shorter + 10)


def test_one_encoder_window_is_never_shortened():
    assert long_audio().longest(HALF_HOUR, 0) == 40.0
    assert long_audio().longest(60.0, 0) == 40.0


def test_the_longest_chunk_of_a_backend_fits_the_free_memory(tmp_path, monkeypatch):
    backend, _ = small_backend(tmp_path)
    needed = LongAudioCost.of(backend.network.config, itemsize=4).peak(600.0)
    share = torch_backend.LONG_AUDIO_MEMORY_SHARE
    monkeypatch.setattr(torch_backend, "free_memory", lambda device: needed / share)
    assert backend.longest_chunk(30.0) == 30.0
    assert backend.longest_chunk(600.0) == 600.0
    assert 500 < backend.longest_chunk(HALF_HOUR) <= 600.0


def test_most_memory_of_a_batch_on_a_gpu_is_the_cache():
    """131 kB a position in bfloat16: 64 sequences of 1,280 positions take 10.7 GB."""
    assert 1280 * 64 * on_gpu().cache_per_position == pytest.approx(10.7 * GB, rel=0.01)
    assert 10.7 * GB < on_gpu().peak(64, 40, 664) < 20 * GB


@pytest.mark.parametrize("gpu", [True, False])
def test_more_rows_audio_tokens_or_bytes_need_more_memory(gpu: bool):
    memory = BatchMemory(real_config(), itemsize=2, on_gpu=gpu)
    usual = memory.peak(4, 20, 300)
    assert usual < memory.peak(8, 20, 300)
    assert usual < memory.peak(4, 40, 300)
    assert usual < memory.peak(4, 20, 900)
    assert usual < BatchMemory(real_config(), 4, gpu).peak(4, 20, 300)


@pytest.mark.parametrize("gpu", [True, False])
def test_the_batch_size_is_the_largest_that_fits(gpu: bool):
    memory = BatchMemory(real_config(), itemsize=2, on_gpu=gpu)
    for free in (0, 1 * GB, 3 * GB, 6 * GB, 12 * GB, 1000 * GB):
        rows = memory.max_batch_size(free, 40, 664)
        assert 1 <= rows <= MAX_BATCH_SIZE
        assert rows == 1 or memory.peak(rows, 40, 664) <= free
        assert rows == MAX_BATCH_SIZE or memory.peak(rows + 1, 40, 664) > free
    assert memory.max_batch_size(0, 40, 664) == 1
    assert memory.max_batch_size(1000 * GB, 40, 664) == MAX_BATCH_SIZE


def test_the_automatic_batch_size_leaves_room_for_the_weights(monkeypatch: pytest.MonkeyPatch):
    network = small_network()
    weights = sum(each.numel() * 4 for each in network.parameters())
    memory = BatchMemory(network.config, 4, on_gpu=False)
    needed = memory.peak(3, 40, memory_estimate.TRANSCRIPT_TOKENS)
    room = needed / memory_estimate.BATCH_MEMORY_SHARE
    monkeypatch.setattr(memory_estimate, "free_memory", lambda device: weights + room)
    assert auto_batch_size(network, torch.device("cpu"), torch.float32) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_estimated_peak_is_the_real_one():
    """Eight chunks of 20 s through the demo: in addition to the weights about 80 MB."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.batch_memory",
        "--here",
        "--models",
        "demo",
        "--words",
    ]
    command += ["--rows", "8", "--seconds", "20", "--tokens", "200"]
    # Libraries keep buffers for each thread.
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, cwd=ROOT)
    figures = json.loads(done.stdout.splitlines()[-1])
    real = figures["peak"] - figures["before"]
    assert 0.66 < figures["need"] / real < 1.5
    assert 0.85 < (figures["before"] + figures["need"]) / figures["peak"] < 1.15
