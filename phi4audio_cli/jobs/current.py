"""Which outputs of a recording are missing, or say something else than they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.types import Job, Metadata, Result, document_of
from phi4audio_cli.writers import render


def stale(job: Job, result: Result, metadata: Metadata, style: CueStyle) -> Job:
    """Return a job with those of its outputs only that must be written.

    An output is current when it holds what would be written now: so the looks of subtitles, names
    and versions all count, and nobody must remember what was written.

    Args:
        job: With all outputs.
        result: What they should say.
        metadata: What they say of their making.
        style: How subtitles look.
    """
    outputs = {
        name: path
        for name, path in job.outputs.items()
        if _content(path) != _wanted(name, result, metadata, style)
    }
    return replace(job, outputs=outputs)


def _wanted(name: str, result: Result, metadata: Metadata, style: CueStyle) -> bytes:
    variant, _, form = name.rpartition(".")
    text = render(form, document_of(result, variant), metadata, style)
    return text.encode("utf-8", errors="backslashreplace")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
