"""Where the journal of a recording lies."""

from __future__ import annotations

import hashlib
import os

from phi4audio_cli.location import HOME, Location
from phi4audio_cli.types import Job

LONGEST_NAME = 200
"""Bytes of a journal's name; file systems take 255."""


def journal_path(job: Job, task: str) -> Location:
    """Return where a recording's journal lies: beside its first output, in a folder of ours."""
    key, path = next(iter(job.outputs.items()))
    if path.name.endswith(f".{key}"):
        stem = path.name.removesuffix(f".{key}")
    else:  # a name that the user made; it need not tell recordings apart without its format
        place = job.url or os.path.abspath(job.source)  # noqa: PTH100
        stem = f"{job.source.name}-{_short_hash(place)}"
    variants = dict.fromkeys(name.rpartition(".")[0] for name in job.outputs)
    parts = [stem, "+".join(filter(None, variants)), task.lower()]
    name = ".".join(filter(None, parts))
    if len(os.fsencode(name)) > LONGEST_NAME:
        start = os.fsdecode(os.fsencode(name)[: LONGEST_NAME - 20])
        name = f"{start}-{_short_hash(name)}"
    return path.parent / HOME / f"{name}.journal"


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
