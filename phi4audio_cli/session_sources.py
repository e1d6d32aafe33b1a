"""The sources that a session takes, as jobs: paths, URLs, arrays and planned jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from phi4audio_cli.audio.audio_array import make_audio_array
from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.download import check_readable_scheme
from phi4audio_cli.jobs.input_source import parse_input
from phi4audio_cli.types import AudioArray, Job, RawSamples

Source: TypeAlias = "str | os.PathLike[str] | RawSamples | AudioArray | Job"
"""A recording: a path or URL, an array with a sample rate, or a planned job."""


def make_jobs(
    sources: Source | Iterable[Source], sample_rate: int | None, *, offline: bool
) -> Iterator[Job]:
    """Yield a job for each source.

    Args:
        sources: One recording, or an iterable of them; a `Job` is yielded as it is.
        sample_rate: Of all bare arrays, Hz.
        offline: Whether to refuse URLs.

    Raises:
        UsageError: A source that can't be used.
    """
    if isinstance(sources, str | os.PathLike | np.ndarray | AudioArray | Job):
        sources = [sources]
    for index, source in enumerate(sources):
        yield source if isinstance(source, Job) else _make_job(index, source, sample_rate, offline)


def _make_job(
    index: int,
    source: str | os.PathLike[str] | RawSamples | AudioArray,
    sample_rate: int | None,
    offline: bool,
) -> Job:
    if isinstance(source, AudioArray):
        return _make_array_job(index, source.samples, source.sample_rate)
    if not isinstance(source, str | os.PathLike):
        return _make_array_job(index, source, sample_rate)
    found = parse_input(os.fspath(source))
    if found.url is not None:
        if offline:
            raise UsageError("the session is offline", found.name, "give a file")
        check_readable_scheme(found.url)
    return Job(index, found.path, url=found.url)


def _make_array_job(index: int, samples: RawSamples, sample_rate: int | None) -> Job:
    name = f"array {index}"
    return Job(index, Path(name), audio=make_audio_array(samples, sample_rate, name))
