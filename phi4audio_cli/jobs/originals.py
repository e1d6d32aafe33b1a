"""Whether a recording is still the one that a journal is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

from phi4audio_cli.errors import Phi4AudioError
from phi4audio_cli.jobs.fetch import look_at
from phi4audio_cli.jobs.fingerprint import file_digest
from phi4audio_cli.types import Job

Fetch: TypeAlias = Callable[[Job], AbstractContextManager[Path]]
"""Gives the file of a recording for as long as it is needed."""

Original: TypeAlias = tuple[int, int]
"""Size and time of change of a recording that was fetched."""


def original_of(job: Job, copy: Path) -> Original | None:
    """Return what tells later, without fetching it again, that a recording has not changed.

    Args:
        job: The recording.
        copy: What was fetched, with the time of change of its original.

    Returns:
        None for a recording that lies here.
    """
    if job.url is None:
        return None
    found = copy.stat()
    return found.st_size, int(found.st_mtime)


def is_same(job: Job, fetch: Fetch, header: Mapping[str, Any], done: Mapping[str, Any]) -> bool:
    """Return whether a recording has not changed since it was done.

    Args:
        job: The recording.
        fetch: Gives its file, where its bytes must be compared.
        header: Of its journal.
        done: The journal's last entry.
    """
    original = done.get("original")
    if job.url and original and look_at(job.url) == tuple(original):
        return True
    try:
        # What has changed elsewhere is fetched again when its turn comes: to keep it until then
        # would fill the disk, for all recordings are looked through before the first is done.
        with fetch(job) as source:
            return bool(file_digest(source) == header["input"])
    except (OSError, Phi4AudioError):
        return False  # it will fail again where failures are told
