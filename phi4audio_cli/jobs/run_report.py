"""The report of a run: the status of every recording, as a table's rows and as JSON."""

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
from phi4audio_cli.jobs.lock import STATE_DIR
from phi4audio_cli.jobs.output_paths import encode_text
from phi4audio_cli.storage import Location, RemotePath, write_atomic
from phi4audio_cli.types import Job

SCHEMA_VERSION = "1"

RecordingStatus = Literal["done", "skipped", "warnings", "failed", "interrupted"]
"""`warnings`: done, but something should be looked over; `skipped`: nothing was to be done."""


@dataclass(slots=True)
class ReportEntry:
    """One recording."""

    job: Job
    status: RecordingStatus = "interrupted"
    seconds: float | None = None
    """Length of its audio."""
    started_at: float | None = None
    elapsed_seconds: float | None = None
    """Seconds from its opening to its outputs; others were worked on meanwhile."""
    retries: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def source(self) -> str:
        """What the user called it."""
        return display_name(self.job)

    @property
    def message(self) -> str:
        """What a user should know of it, in one line; empty: nothing."""
        return self.error or "; ".join(self.warnings)

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        there = self.status in ("done", "skipped", "warnings")
        outputs = [str(path) for path in self.job.outputs.values()] if there else []
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
    """Collects what becomes of recordings.

    Attributes:
        task: What was done.
        model: As the user named it.
        missing: What is wrong with inputs that are no recordings: files that aren't there, lines
            of lists that can't be used.
        workers: What each did, where there was a cluster.
        now: A clock, in seconds.
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
        """Note that a recording was opened."""
        self.entries[job.index].started_at = self.clock()

    def count_retry(self, job: Job) -> None:
        """Note that something was asked again."""
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
        """Note what became of a recording."""
        entry = self.entries[job.index]
        entry.status, entry.seconds, entry.error = status, seconds, error
        entry.warnings = tuple(warnings)
        if entry.started_at is not None:
            entry.elapsed_seconds = self.clock() - entry.started_at

    def problems(self) -> list[ReportEntry]:
        """Return the recordings that failed, then those to look over."""
        found = [each for each in self.entries.values() if each.status == "failed" or each.warnings]
        return sorted(found, key=lambda each: each.status != "failed")

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        entries = self.entries.values()
        count = Counter(each.status for each in entries)
        elapsed = self.clock() - self.started_at
        worked = sum(each.seconds or 0.0 for each in entries if each.elapsed_seconds is not None)
        totals: dict[str, Any] = {"files": len(entries)}
        totals |= {status: count[status] for status in get_args(RecordingStatus)}
        totals["missing"] = len(self.missing)
        totals["retries"] = sum(each.retries for each in entries)
        totals["seconds"] = _rounded(sum(each.seconds or 0.0 for each in entries))
        totals["elapsed"] = _rounded(elapsed)
        totals["rtfx"] = _rounded(worked / elapsed if worked and elapsed else None)
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
        """Write it as JSON; it appears complete, or not at all.

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
    """Return where the report goes; None: nowhere.

    Args:
        jobs: None of their outputs may be it.
        output_dir: It lies there where nothing else was asked for.
        requested: What the user wants.
        suffix: Tells it from the reports that other jobs write there.

    Raises:
        UsageError: The one asked for is a recording or an output.
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
    usual = output_dir / f"report-{suffix}.json" if suffix else output_dir / "report.json"
    return usual if _path_key(usual) not in taken else output_dir / STATE_DIR / usual.name


def _path_key(path: Location) -> str:
    return str(path if isinstance(path, RemotePath) else path.absolute()).casefold()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
