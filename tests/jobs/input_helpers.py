"""Helpers that make input sources and list planned output names."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.jobs.input_source import InputSource, split_url
from phi4audio_cli.jobs.output_paths import plan_jobs


def local_source(path: Path, root: Path | None = None) -> InputSource:
    return InputSource(path, path.name, root=root)


def remote_source(url: str) -> InputSource:
    name = split_url(url)[1]
    return InputSource(Path(name), name, url=url)


def planned_names(
    root: Path, *sources: str, out: str | None = None, formats: tuple[str, ...] = ("txt",)
) -> list[str]:
    inputs = [local_source(root / each) for each in sources]
    jobs = plan_jobs(inputs, formats, root / out if out else None)
    assert [job.source for job in jobs] == [root / each for each in sources]
    assert [job.index for job in jobs] == list(range(len(jobs)))
    return [str(path.relative_to(root)) for job in jobs for path in job.outputs.values()]


def planned_texts(
    inputs: list[InputSource], out: Path | None = None, template: str | None = None
) -> list[str]:
    """Return the names of the txt outputs, relative to the output folder if there is one."""
    jobs = plan_jobs(inputs, ["txt"], out, template)
    paths = [job.outputs["txt"] for job in jobs]
    return [str(path.relative_to(out)) if out else str(path) for path in paths]


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
