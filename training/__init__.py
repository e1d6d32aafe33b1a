"""Training of the demo checkpoint, and its sample recordings."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The root of the repository."""

DEMO = ROOT / "phi4audio_cli" / "demo"
"""The folder of the demo checkpoint and its samples."""

FSDD = ROOT.parent / "shared" / "fsdd"
"""Default folder of the Free Spoken Digit Dataset, which is not part of the project."""
