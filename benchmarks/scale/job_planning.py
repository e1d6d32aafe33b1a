"""Time and memory of the driver for a list of recordings, before work starts."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from phi4audio_cli.cluster.work_queue import WorkQueue, long_recordings_first
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.output_paths import plan_jobs
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.jobs.shard import Shard
from phi4audio_cli.locations import RemotePath

FORMATS = ("txt", "json", "srt")
OUTPUT_FOLDER = RemotePath("memory://bucket/out")
FOLDER_SIZE = 1000
"""Recordings in each folder of the archive."""


@dataclass
class PlanningCost:
    """Seconds of processor time of each step, and the process's memory after it, in MB."""

    seconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)
    peak: float = 0.0
    """Peak memory of the process, in MB."""
    report_bytes: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step."""
        began = time.process_time()
        yield
        self.seconds[name] = time.process_time() - began
        self.megabytes[name] = psutil.Process().memory_info().rss / 1e6


def write_manifest(folder: Path, count: int, *, files: bool) -> Path:
    """Write a list of recordings: empty files, or URLs that are not fetched."""
    base = folder / "archive" if files else "memory://archive"
    names = [f"{base}/box-{n // FOLDER_SIZE:05}/recording-{n:08}.flac" for n in range(count)]
    if files:
        for name in names:
            path = Path(name)
            if path.name.endswith("000.flac"):
                path.parent.mkdir(parents=True)
            path.touch()
    manifest = folder / "list.jsonl"
    with manifest.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"path": name}) + "\n" for name in names)
    return manifest


def plan(manifest: Path, found: PlanningCost) -> None:
    """Run the steps of `cli.run_plan` before work starts, and the report at the end."""
    with found.step("at the start"):
        pass
    with found.step("read the list"):
        inputs, problems = find_inputs([f"@{manifest}"])
        assert not problems, problems[0]
    with found.step("name the outputs"):
        jobs = plan_jobs(inputs, FORMATS, OUTPUT_FOLDER)
    with found.step("prepare report and queue"):
        report = Report(jobs, "transcribe", "demo")
        report_path(jobs, OUTPUT_FOLDER, None)
        queue = WorkQueue(long_recordings_first(jobs))
    with found.step("take a shard of 1,000"):
        Shard(1, 1000).select_jobs(jobs)
    for job in jobs:
        report.set_status(job, "done", seconds=60.0)
    with found.step("make the report"):
        text = json.dumps(report.to_json(), ensure_ascii=False, indent=2)
        found.report_bytes = len(text)
    assert queue.num_waiting == len(jobs)


def measure(manifest: Path) -> PlanningCost:
    """Plan in a process of its own, to measure its memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_plan, (manifest,))


def _plan(manifest: Path) -> PlanningCost:
    found = PlanningCost()
    plan(manifest, found)
    found.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found
