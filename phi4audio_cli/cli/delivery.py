"""Takes what is told of recordings: transcripts are printed, outputs and failures told."""

from __future__ import annotations

from dataclasses import dataclass

from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.cli.transcripts import OrderedOutput
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.jobs.lock import ClaimedError
from phi4audio_cli.jobs.report import Report, Status
from phi4audio_cli.types import ChunkDone, FileFailed, FileStarted, Job


@dataclass(frozen=True, slots=True)
class Rules:
    """How strict a run is."""

    fail_fast: bool = False
    """Whether the first failure ends it."""
    strict: bool = False
    """Whether warnings are failures for the exit code."""


class Delivery:
    """Tells the user what became of recordings, and keeps count of what went wrong.

    Attributes:
        exit_code: What the run comes to so far.
    """

    def __init__(self, display: Display, report: Report, rules: Rules, stop: Stopper) -> None:
        self.exit_code = ExitCode.OK
        self._display = display
        self._report = report
        self._rules = rules
        self._stop = stop
        self._printed = OrderedOutput(display.aside)

    def take(self, told: Told) -> None:
        """Take what is told of one recording."""
        match told:
            case FileFailed(job=job, error=ClaimedError() as claimed):
                self._leave(job, claimed)
                return
            case Filed(anew=False):
                pass
            case _:
                self._display.take(told)
        match told:
            case FileStarted(job=job):
                self._report.start(job)
            case ChunkDone(job=job, generation=generation):
                if generation.request.attempt != "first":
                    self._report.retry(job)
            case Filed():
                self._deliver(told)
            case FileFailed(job=job, error=error):
                self._fail(job, error, ExitCode.FILES_FAILED)
                self._printed.put(job, None)

    def _deliver(self, filed: Filed) -> None:
        job = filed.job
        if filed.error is not None:
            # The others may have better luck, and the transcript still goes to standard output.
            self._fail(job, filed.error, ExitCode.OUTPUT)
        else:
            self._tell(filed)
            skipped = not filed.anew and not filed.written
            status: Status = "skipped" if skipped else "warnings" if filed.warnings else "done"
            self._report.settle(job, status, seconds=filed.seconds, warnings=filed.warnings)
            if filed.warnings and self._rules.strict:
                self._raise_to(ExitCode.FILES_FAILED)
        self._printed.put(job, filed.text)

    def _tell(self, filed: Filed) -> None:
        job = filed.job
        if filed.anew:
            self._display.wrote(job, job.outputs.values())
        elif filed.written:
            paths = " ".join(map(str, filed.written))
            self._display.skip(job, f"done before; written of its journal: {paths}")
        else:
            self._display.skip(job, "done before, and its outputs are current")
        for warning in filed.warnings:
            self._display.warn(job, warning)

    def _leave(self, job: Job, error: ClaimedError) -> None:
        self._display.skip(job, error.what)
        self._report.settle(job, "skipped", error=error.what)
        self._printed.put(job, None)

    def _fail(self, job: Job, error: Exception, code: ExitCode) -> None:
        self._display.problem(error)
        self._report.settle(job, "failed", error=str(error))
        self._raise_to(code)
        if self._rules.fail_fast:
            self._stop.ask()

    def _raise_to(self, code: ExitCode) -> None:
        # An output that can't be written says more than a recording that can't be read.
        if self.exit_code != ExitCode.OUTPUT:
            self.exit_code = code
