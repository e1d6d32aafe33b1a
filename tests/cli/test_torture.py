"""A fault at an operation on a file: the job says so or goes on, and the next run mends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "torture.py"


def test_the_next_run_recovers_from_injected_faults() -> None:
    # Some of them; the script alone takes them all.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "faults", "--every", "9"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differences" in done.stdout
