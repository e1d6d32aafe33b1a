"""Rows have the same bits in any batch with the kernels of each kind of x86 processor."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

KINDS = {
    "this": {},
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "AVX-512 without bfloat16": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "AVX-512 without AMX": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
}
"""Variables that have the libraries take lesser kernels than the processor has."""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86 processors")
@pytest.mark.parametrize(("kind", "threads"), [*((kind, 1) for kind in KINDS), ("this", 2)])
def test_rows_have_the_same_bits_in_any_batch(kind: str, threads: int):
    run = subprocess.run(
        [sys.executable, "-m", "tests.network.row_bits"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)} | KINDS[kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {}
