"""The report of a run: the status of every recording, as rows of a table and as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from phi4audio_cli import __version__
from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.input_source import display_name
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import STATE_DIR, encode_text, write_atomic
from phi4audio_cli.types import Job

SCHEMA_VERSION = "1"

RecordingStatus = Literal["done", "skipped", "warnings", "failed", "interrupted"]
"""`warnings`: done, but its result needs a check; `skipped`: done by an earlier run."""


@dataclass(slots=True)
class ReportEntry:
    """One recording."""

    job: Job
    status: RecordingStatus = "interrupted"
    seconds: float | None = None
    """Length of its audio."""
    started_at: float | None = None
    elapsed_seconds: float | None = None
    """Seconds from its opening to its outputs; other recordings were in progress meanwhile."""
    retries: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def source(self) -> str:
        """Its name for the user."""
        return display_name(self.job)

    @property
    def message(self) -> str:
        """Its error, or its warnings in one line; empty if there are none."""
        return self.error or "; ".join(self.warnings)

    def to_json(self) -> dict[str, Any]:
        """Return its entry in the report."""
        complete = self.status in ("done", "skipped", "warnings")
        outputs = [str(path) for path in self.job.outputs.values()] if complete else []
        return {
            "source": self.source,
            "status": self.status,
            "seconds": _rounded(self.seconds),
            "rtfx": _rounded(
                self.seconds / self.elapsed_seconds
                if self.seconds and self.elapsed_seconds
                else None
            ),
            "retries": self.retries,
            "warnings": list(self.warnings),
            "error": self.error,
            "outputs": outputs,
        }


@dataclass(slots=True)
class Report:
    """Collects the status of each recording.

    Attributes:
        task: Name of the task.
        model: The model as the user named it.
        missing: Errors of inputs without a recording: missing files, invalid lines of manifests.
        workers: Statistics of each worker of a cluster.
        clock: Returns the time in seconds.
    """

    jobs: Sequence[Job]
    task: str
    model: str
    missing: Sequence[UsageError] = ()
    workers: Sequence[Mapping[str, Any]] = ()
    clock: Callable[[], float] = time.monotonic
    entries: dict[int, ReportEntry] = field(init=False)
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.entries = {job.index: ReportEntry(job) for job in self.jobs}
        self.started_at = self.clock()

    def mark_started(self, job: Job) -> None:
        """Record that a recording was opened."""
        self.entries[job.index].started_at = self.clock()

    def count_retry(self, job: Job) -> None:
        """Count one more request for a chunk of a recording."""
        self.entries[job.index].retries += 1

    def set_status(
        self,
        job: Job,
        status: RecordingStatus,
        *,
        seconds: float | None = None,
        warnings: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        """Record the status of a recording."""
        entry = self.entries[job.index]
        entry.status, entry.seconds, entry.error = status, seconds, error
        entry.warnings = tuple(warnings)
        if entry.started_at is not None:
            entry.elapsed_seconds = self.clock() - entry.started_at

    def problems(self) -> list[ReportEntry]:
        """Return the recordings that failed, then those with warnings."""
        found = [each for each in self.entries.values() if each.status == "failed" or each.warnings]
        return sorted(found, key=lambda each: each.status != "failed")

    def to_json(self) -> dict[str, Any]:
        """Return the whole report."""
        entries = self.entries.values()
        count = Counter(each.status for each in entries)
        elapsed = self.clock() - self.started_at
        timed = [each for each in entries if each.elapsed_seconds is not None]
        transcribed = sum(each.seconds or 0.0 for each in timed)
        totals: dict[str, Any] = {"files": len(entries)}
        totals |= {status: count[status] for status in get_args(RecordingStatus)}
        totals["missing"] = len(self.missing)
        totals["retries"] = sum(each.retries for each in entries)
        totals["seconds"] = _rounded(sum(each.seconds or 0.0 for each in entries))
        totals["elapsed"] = _rounded(elapsed)
        totals["rtfx"] = _rounded(transcribed / elapsed if transcribed and elapsed else None)
        return {
            "schema_version": SCHEMA_VERSION,
            "phi4audio": __version__,
            "task": self.task,
            "model": self.model,
            "totals": totals,
            **({"workers": list(self.workers)} if self.workers else {}),
            "files": [each.to_json() for each in entries],
            "missing": [{"source": each.where, "error": str(each)} for each in self.missing],
        }

    def write(self, path: Location) -> None:
        """Write it as JSON, atomically.

        Raises:
            OSError: It can't be written.
        """
        write_atomic(
            path, encode_text(json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n")
        )


def report_path(
    jobs: Sequence[Job],
    output_dir: Location | None,
    requested: Location | None,
    *,
    suffix: str = "",
) -> Location | None:
    """Return the location of the report; None if there is none.

    Args:
        jobs: The report may replace none of their recordings and outputs.
        output_dir: Its folder, unless the user requested a file.
        requested: The file requested by the user.
        suffix: Distinguishes it from the reports of other jobs in the same folder.

    Raises:
        UsageError: The requested file is a recording or an output.
    """
    taken = {_path_key(path) for job in jobs for path in (job.source, *job.outputs.values())}
    if requested is not None:
        if _path_key(requested) in taken:
            raise UsageError(
                "this is a recording or an output", f"--report {requested}", "give it another name"
            )
        return requested
    if output_dir is None:
        return None
    default = output_dir / (f"report-{suffix}.json" if suffix else "report.json")
    return default if _path_key(default) not in taken else output_dir / STATE_DIR / default.name


def _path_key(path: Location) -> str:
    return str(path if isinstance(path, RemotePath) else path.absolute()).casefold()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
