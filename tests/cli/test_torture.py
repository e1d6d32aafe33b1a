"""Injected faults of file operations: the next run has the outputs of an undisturbed one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_next_run_recovers_from_injected_faults() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.torture", "faults", "--every", "9"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differences" in done.stdout
