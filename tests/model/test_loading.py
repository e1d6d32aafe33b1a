"""A load holds the weights once: merging, renaming and shards cost next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.make_checkpoint.random_checkpoint import NetworkSize, make

ROOT = Path(__file__).resolve().parents[2]
VISION = {"hidden": 32, "mlp": 48, "layers": 2, "heads": 2}
MEDIUM = NetworkSize(768, 12, 4, 3072, 12, 64, 4, 96, 2, 16, VISION, 32, 24)


WORKING_BYTES = 64_000_000
"""Buffers of torch's own, which don't grow with the checkpoint."""


@pytest.mark.slow
def test_peak_memory_of_a_load(tmp_path: Path):
    make(tmp_path, "original", MEDIUM, shard_bytes=200_000_000)
    command = [
        sys.executable,
        "-m",
        "benchmarks.model_load",
        "--model",
        tmp_path,
        "--dtype",
        "bfloat16",
        "--json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    figures = json.loads(done.stdout)
    held = figures["peak_bytes"] - figures["imports_bytes"] - WORKING_BYTES
    assert figures["weights_bytes"] > 500_000_000
    assert held < 1.15 * figures["weights_bytes"]
