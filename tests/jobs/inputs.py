"""Inputs of a job as they are found, and the names of what is planned and what is there."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.jobs.inputs import Input, split_url
from phi4audio_cli.jobs.outputs import plan_jobs


def local(path: Path, root: Path | None = None) -> Input:
    return Input(path, path.name, root=root)


def remote(url: str) -> Input:
    name = split_url(url)[1]
    return Input(Path(name), name, url=url)


def names(
    root: Path, *sources: str, out: str | None = None, formats: tuple[str, ...] = ("txt",)
) -> list[str]:
    inputs = [local(root / each) for each in sources]
    jobs = plan_jobs(inputs, formats, root / out if out else None)
    assert [job.source for job in jobs] == [root / each for each in sources]
    assert [job.index for job in jobs] == list(range(len(jobs)))
    return [str(path.relative_to(root)) for job in jobs for path in job.outputs.values()]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
