"""Whether outputs can be written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from phi4audio_cli.checks.check import Check
from phi4audio_cli.errors import Phi4AudioError
from phi4audio_cli.location import Location, RemotePath
from phi4audio_cli.remote import check_scheme, leave_note

LITTLE = 100_000_000
"""Bytes; transcripts are small, temporary copies of remote recordings are not."""


def writing(folder: Location | None) -> Check:
    """Check space and permission where outputs go.

    Args:
        folder: For the outputs; None: they lie beside the inputs, so the current one is looked at.
    """
    if isinstance(folder, RemotePath):
        return _behind_url(folder)
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


def _behind_url(folder: RemotePath) -> Check:
    """Write a note there, as every job begins."""
    try:
        check_scheme(folder)
        leave_note(folder)
    except Phi4AudioError as error:
        return Check("writing", "fail", f"{error.where}: {error.what}", error.remedy or "")
    return Check("writing", "ok", f"{folder}: can be written to")


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def gigabytes(count: float) -> str:
    """Say a number of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
