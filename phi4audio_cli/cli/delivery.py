"""Takes what the engine tells: outputs are written, transcripts printed, failures told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phi4audio_cli import __version__
from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.cli.transcripts import OrderedOutput, printed
from phi4audio_cli.errors import ExitCode, FileError, OutputError, Phi4AudioError
from phi4audio_cli.jobs.current import stale
from phi4audio_cli.jobs.inputs import name_of
from phi4audio_cli.jobs.lock import ClaimedError
from phi4audio_cli.jobs.outputs import write_outputs
from phi4audio_cli.jobs.report import Report, Status
from phi4audio_cli.jobs.shelf import Finished, Shelf
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.types import (
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Job,
    Metadata,
    Result,
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How strict a run is."""

    fail_fast: bool = False
    """Whether the first failure ends it."""
    strict: bool = False
    """Whether warnings are failures for the exit code."""


class Delivery:
    """Brings results to where they belong, and keeps count of what went wrong.

    Attributes:
        exit_code: What the run comes to so far.
    """

    def __init__(
        self,
        settings: Settings,
        display: Display,
        shelf: Shelf,
        report: Report,
        rules: Rules,
        stop: Stopper,
    ) -> None:
        self.exit_code = ExitCode.OK
        self._settings = settings
        self._display = display
        self._shelf = shelf
        self._report = report
        self._rules = rules
        self._stop = stop
        self._printed = OrderedOutput(display.aside)

    def take(self, event: Event) -> None:
        """Take one event of the engine."""
        if isinstance(event, FileFailed) and isinstance(event.error, ClaimedError):
            self._leave(event.job, event.error)
            return
        self._display.take(event)
        match event:
            case FileStarted(job=job):
                self._report.start(job)
            case ChunkDone(job=job, generation=generation):
                if generation.request.attempt != "first":
                    self._report.retry(job)
            case FileDone(job=job, result=result, warnings=warnings):
                kept = self._shelf.finish(job, result, warnings)
                self._deliver(job, kept, warnings, anew=True)
            case FileFailed(job=job, error=error):
                self._shelf.leave(job)
                self._fail(job, explained(error, job), ExitCode.FILES_FAILED)
                self._printed.put(job, None)

    def skip(self, job: Job, finished: Finished) -> None:
        """Take what an earlier run made of a recording: its outputs are brought up to date."""
        self._deliver(job, finished.result, finished.warnings, anew=False)

    def _deliver(self, job: Job, result: Result, damage: Sequence[str], *, anew: bool) -> None:
        metadata = Metadata(job.source.name, self._settings.model, __version__)
        uncovered = self._settings.max_uncovered / 100
        warnings = (*damage, *quality_warnings(result, uncovered))
        try:
            to_write = stale(job, result, metadata, self._settings.cue_style, anew=anew)
            write_outputs(to_write, result, metadata, self._settings.cue_style)
        except OutputError as error:
            # The others may have better luck, and the transcript still goes to standard output.
            self._fail(job, error, ExitCode.OUTPUT)
        else:
            self._tell(job, warnings, written=to_write, anew=anew)
            skipped = not anew and not to_write.outputs
            status: Status = "skipped" if skipped else "warnings" if warnings else "done"
            self._report.settle(job, status, seconds=result.duration, warnings=warnings)
            if warnings and self._rules.strict:
                self._raise_to(ExitCode.FILES_FAILED)
        self._printed.put(job, printed(result))

    def _tell(self, job: Job, warnings: Sequence[str], *, written: Job, anew: bool) -> None:
        if anew:
            self._display.wrote(job, job.outputs.values())
        elif written.outputs:
            paths = " ".join(map(str, written.outputs.values()))
            self._display.skip(job, f"done before; written of its journal: {paths}")
        else:
            self._display.skip(job, "done before, and its outputs are current")
        for warning in warnings:
            self._display.warn(job, warning)

    def _leave(self, job: Job, error: ClaimedError) -> None:
        self._shelf.leave(job)
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


def explained(error: Exception, job: Job) -> Exception:
    """Put an exception into the words of a failed recording, and name the recording.

    The backend knows of no files, so what it raises doesn't name any.
    """
    if isinstance(error, Phi4AudioError):
        return type(error)(error.what, error.where or name_of(job), error.remedy)
    what = f"failed with {type(error).__name__}: {error}"
    return FileError(what, name_of(job), "report it if the recording plays elsewhere")
