"""Whether outputs can be written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from phi4audio_cli.checks.check import Check

LITTLE = 100_000_000
"""Bytes; transcripts are small, temporary copies of remote recordings are not."""


def writing(folder: Path | None) -> Check:
    """Check space and permission where outputs go.

    Args:
        folder: For the outputs; None: they lie beside the inputs, so the current one is looked at.
    """
    place = existing(folder or Path())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "take another folder for the outputs with -o"
        return Check("writing", "fail", f"{place}: can't be written in: {reason}", remedy)
    free = shutil.disk_usage(place).free
    found = f"{place}: {gigabytes(free)} free"
    if free < LITTLE:
        return Check("writing", "warn", found, "make room, or take another folder with -o")
    return Check("writing", "ok", found)


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def gigabytes(count: float) -> str:
    """Say a number of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
