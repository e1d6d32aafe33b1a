"""What became of every recording of a run: for people's tables, and for programs as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from phi4audio_cli import __version__
from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.inputs import name_of
from phi4audio_cli.jobs.lock import HOME
from phi4audio_cli.jobs.outputs import as_bytes
from phi4audio_cli.jobs.store import write
from phi4audio_cli.location import Location, RemotePath
from phi4audio_cli.types import Job

SCHEMA_VERSION = "1"

Status = Literal["done", "skipped", "warnings", "failed", "interrupted"]
"""`warnings`: done, but something should be looked over; `skipped`: nothing was to be done."""


@dataclass(slots=True)
class Entry:
    """One recording."""

    job: Job
    status: Status = "interrupted"
    seconds: float | None = None
    """Length of its audio."""
    began: float | None = None
    took: float | None = None
    """Seconds from its opening to its outputs; others were worked on meanwhile."""
    retries: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def source(self) -> str:
        """What the user called it."""
        return name_of(self.job)

    @property
    def why(self) -> str:
        """What a user should know of it, in one line; empty: nothing."""
        return self.error or "; ".join(self.warnings)

    def as_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        there = self.status in ("done", "skipped", "warnings")
        outputs = [str(path) for path in self.job.outputs.values()] if there else []
        return {
            "source": self.source,
            "status": self.status,
            "seconds": _rounded(self.seconds),
            "rtfx": _rounded(self.seconds / self.took if self.seconds and self.took else None),
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
    now: Callable[[], float] = time.monotonic
    entries: dict[int, Entry] = field(init=False)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.entries = {job.index: Entry(job) for job in self.jobs}
        self.began = self.now()

    def start(self, job: Job) -> None:
        """Note that a recording was opened."""
        self.entries[job.index].began = self.now()

    def retry(self, job: Job) -> None:
        """Note that something was asked again."""
        self.entries[job.index].retries += 1

    def settle(
        self,
        job: Job,
        status: Status,
        *,
        seconds: float | None = None,
        warnings: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        """Note what became of a recording."""
        entry = self.entries[job.index]
        entry.status, entry.seconds, entry.error = status, seconds, error
        entry.warnings = tuple(warnings)
        if entry.began is not None:
            entry.took = self.now() - entry.began

    def troubles(self) -> list[Entry]:
        """Return the recordings that failed, then those to look over."""
        found = [each for each in self.entries.values() if each.status == "failed" or each.warnings]
        return sorted(found, key=lambda each: each.status != "failed")

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        entries = self.entries.values()
        count = Counter(each.status for each in entries)
        elapsed = self.now() - self.began
        worked = sum(each.seconds or 0.0 for each in entries if each.took is not None)
        totals: dict[str, Any] = {"files": len(entries)}
        totals |= {status: count[status] for status in get_args(Status)}
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
            "files": [each.as_json() for each in entries],
            "missing": [{"source": each.where, "error": str(each)} for each in self.missing],
        }

    def write(self, path: Location) -> None:
        """Write it as JSON; it appears complete, or not at all.

        Raises:
            OSError: It can't be written.
        """
        write(path, as_bytes(json.dumps(self.as_json(), ensure_ascii=False, indent=2) + "\n"))


def report_path(
    jobs: Sequence[Job], output_dir: Location | None, asked: Location | None, *, suffix: str = ""
) -> Location | None:
    """Return where the report goes; None: nowhere.

    Args:
        jobs: None of their outputs may be it.
        output_dir: It lies there where nothing else was asked for.
        asked: What the user wants.
        suffix: Tells it from the reports that other jobs write there.

    Raises:
        UsageError: The one asked for is a recording or an output.
    """
    taken = {_real(path) for job in jobs for path in (job.source, *job.outputs.values())}
    if asked is not None:
        if _real(asked) in taken:
            raise UsageError(
                "this is a recording or an output", f"--report {asked}", "give it another name"
            )
        return asked
    if output_dir is None:
        return None
    usual = output_dir / f"report-{suffix}.json" if suffix else output_dir / "report.json"
    return usual if _real(usual) not in taken else output_dir / HOME / usual.name


def _real(path: Location) -> str:
    return str(path if isinstance(path, RemotePath) else path.absolute()).casefold()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
