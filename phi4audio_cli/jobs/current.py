"""Which outputs of a recording are missing, or say something else than they should."""

from __future__ import annotations

from dataclasses import replace

from phi4audio_cli.jobs.outputs import as_bytes
from phi4audio_cli.jobs.store import read_each
from phi4audio_cli.location import RemotePath
from phi4audio_cli.text.cues import CueStyle
from phi4audio_cli.types import Job, Metadata, Result, document_of
from phi4audio_cli.writers import render


def stale(
    job: Job, result: Result, metadata: Metadata, style: CueStyle, *, anew: bool = False
) -> Job:
    """Return a job with those of its outputs only that must be written.

    An output is current when it holds what would be written now: so the looks of subtitles, names
    and versions all count, and nobody must remember what was written.

    Args:
        job: With all outputs.
        result: What they should say.
        metadata: What they say of their making.
        style: How subtitles look.
        anew: Whether the result was made just now. What lies behind a URL is not read then: to
            put it takes no longer.
    """
    if anew and any(isinstance(place, RemotePath) for place in job.outputs.values()):
        return job
    found = zip(job.outputs.items(), read_each(job.outputs.values()), strict=True)
    outputs = {
        name: path
        for (name, path), content in found
        if content != _wanted(name, result, metadata, style)
    }
    return replace(job, outputs=outputs)


def _wanted(name: str, result: Result, metadata: Metadata, style: CueStyle) -> bytes:
    variant, _, form = name.rpartition(".")
    return as_bytes(render(form, document_of(result, variant), metadata, style))
