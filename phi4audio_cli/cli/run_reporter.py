"""Handles the events of a run: transcripts in input order, the report, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.jobs.run_report import RecordingStatus, Report
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import ChunkDone, FileFailed, FileStarted, Job


class OrderedStdout:
    """Prints texts in order of their jobs' index, whatever order they come in.

    When standard output can't take them (`standard_streams`), the texts are dropped, and the run
    continues for its files.

    Args:
        paused: Returns a context in which the terminal is free for a text.
    """

    def __init__(self, paused: Callable[[Job], AbstractContextManager[object]]) -> None:
        self._paused = paused
        self._pending: dict[int, tuple[Job, str | None]] = {}
        self._next_index = 0

    def put(self, job: Job, text: str | None) -> None:
        """Print a text as soon as those before it are printed; None or empty: none."""
        self._pending[job.index] = job, text
        while self._next_index in self._pending:
            next_job, ready = self._pending.pop(self._next_index)
            self._next_index += 1
            if ready:
                self._print(next_job, ready)

    def _print(self, job: Job, text: str) -> None:
        with self._paused(job):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class ExitPolicy:
    """How strict a run is."""

    fail_fast: bool = False
    """Whether the first failure ends it."""
    strict: bool = False
    """Whether warnings are failures for the exit code."""


class RunReporter:
    """Shows the outcome of each recording, and fills the report.

    Attributes:
        exit_code: Of the run so far.
    """

    def __init__(
        self, display: Display, report: Report, policy: ExitPolicy, cancel_token: CancelToken
    ) -> None:
        self.exit_code = ExitCode.OK
        self._display = display
        self._report = report
        self._policy = policy
        self._cancel_token = cancel_token
        self._stdout = OrderedStdout(display.paused)

    def handle(self, event: RunEvent) -> None:
        """Handle one event."""
        match event:
            case FileFailed(job=job, error=RecordingLockedError() as locked):
                self._on_locked(job, locked)
                return
            case RecordingWritten(is_new=False):
                pass
            case _:
                self._display.on_event(event)
        match event:
            case FileStarted(job=job):
                self._report.mark_started(job)
            case ChunkDone(job=job, generation=generation):
                if generation.request.attempt != "first":
                    self._report.count_retry(job)
            case RecordingWritten():
                self._on_written(event)
            case FileFailed(job=job, error=error):
                self._on_failed(job, error, ExitCode.FILES_FAILED)
                self._stdout.put(job, None)

    def _on_written(self, event: RecordingWritten) -> None:
        job = event.job
        if event.error is not None:
            # Other outputs may succeed, and the transcript still goes to standard output.
            self._on_failed(job, event.error, ExitCode.OUTPUT)
        else:
            self._show_written(event)
            skipped = not event.is_new and not event.written
            status: RecordingStatus = (
                "skipped" if skipped else "warnings" if event.warnings else "done"
            )
            self._report.set_status(job, status, seconds=event.seconds, warnings=event.warnings)
            if event.warnings and self._policy.strict:
                self._set_exit_code(ExitCode.FILES_FAILED)
        self._stdout.put(job, event.text)

    def _show_written(self, event: RecordingWritten) -> None:
        job = event.job
        if event.is_new:
            self._display.on_written(job, job.outputs.values())
        elif event.written:
            paths = " ".join(map(str, event.written))
            self._display.on_skipped(job, f"done before; written of its journal: {paths}")
        else:
            self._display.on_skipped(job, "done before, and its outputs are current")
        for warning in event.warnings:
            self._display.on_warning(job, warning)

    def _on_locked(self, job: Job, error: RecordingLockedError) -> None:
        self._display.on_skipped(job, error.what)
        self._report.set_status(job, "skipped", error=error.what)
        self._stdout.put(job, None)

    def _on_failed(self, job: Job, error: Exception, code: ExitCode) -> None:
        self._display.show_error(error)
        self._report.set_status(job, "failed", error=str(error))
        self._set_exit_code(code)
        if self._policy.fail_fast:
            self._cancel_token.cancel()

    def _set_exit_code(self, code: ExitCode) -> None:
        # An output that can't be written takes precedence over a failed recording.
        if self.exit_code != ExitCode.OUTPUT:
            self.exit_code = code
