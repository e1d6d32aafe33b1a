"""Benchmarks: speed, accuracy and memory; README.md lists the figure that each command gives."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The root of the repository."""

SAMPLES = ROOT / "phi4audio_cli" / "demo" / "samples"
"""The bundled sample recordings."""

FSDD = ROOT.parent / "shared" / "fsdd"
"""Default folder of the Free Spoken Digit Dataset, which is not part of the project."""
