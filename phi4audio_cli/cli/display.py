"""Progress and problems of a run, all on standard error.

`Display` shows problems only (`--quiet`), `PlainDisplay` adds plain lines, and `LiveDisplay`
(live_display.py) draws progress bars in a terminal. They receive the events of the pipeline, which
does not know them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from phi4audio_cli.backend_loader import Listener
from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.display_text import (
    ProblemRow,
    format_bytes,
    format_chunk,
    format_download,
    format_summary,
    format_written,
    print_problem_table,
    stderr_console,
)
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.formatting import format_duration
from phi4audio_cli.locations import Location
from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.types import ChunkDone, Event, Generation, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download

PROGRESS_INTERVAL_SECONDS = 10.0
"""Seconds between two lines about a recording that is being processed, without a terminal."""


class Display(Listener):
    """Shows problems and nothing else; the base of the other displays.

    Args:
        stats: The counts, which the display updates from the events of the pipeline.
        verbose: Whether to show every chunk.
    """

    def __init__(self, stats: RunStats, *, verbose: bool = False) -> None:
        self.stats = stats
        self.verbose = verbose
        self._last_prompt = ""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the drawing; only lines stay on the screen."""

    def print_line(self, text: str) -> None:
        """Print one line, above the drawing."""
        print_message(text)

    def show_error(self, error: Exception) -> None:
        """Show the error of one recording."""
        self.print_line(str(error))

    def on_notice(self, text: str) -> None:
        """Show a line that the user need not act on."""

    def on_status(self, text: str) -> None:
        """Show the current stage of a part without events; empty: the stage is over."""

    def on_download(self, download: Download, done: int) -> None:
        """Show the number of bytes that are downloaded of a model; 0 announces the download."""

    def on_bytes(self, stage: str, done: int, total: int) -> None:
        """Show the number of bytes that a stage has read or written."""

    def on_model_loaded(self) -> None:
        """Start the clock of the run."""
        self.stats.start_clock()

    def on_event(self, event: Event | RunEvent) -> None:
        """Add one event of the pipeline to the counts."""
        self._update_stats(event)
        if self.verbose and isinstance(event, ChunkDone):
            self._show_prompt(event.generation.request.prompt)

    def _update_stats(self, event: Event | RunEvent) -> None:
        self.stats.update(event)

    def _show_prompt(self, prompt: str) -> None:
        if prompt != self._last_prompt:
            self._last_prompt = prompt
            self.on_notice(f"prompt: {prompt}")

    def on_written(self, job: Job, paths: Iterable[Location]) -> None:
        """Show that the outputs of a recording are written."""

    def on_skipped(self, job: Job, reason: str) -> None:
        """Count a skipped recording, and show the reason."""
        self.stats.add_skipped()
        self.on_notice(f"[{self.stats.finished}/{self.stats.files}] {job.source.name}: {reason}")

    def on_warning(self, job: Job, warning: str) -> None:
        """Show a warning about a finished recording."""
        self.print_line(f"{job.source}: {warning}")

    def paused(self, job: Job) -> AbstractContextManager[object]:
        """Return a context without drawing, in which a transcript is printed to standard output."""
        return contextlib.nullcontext()

    def show_problems(self, rows: Sequence[ProblemRow]) -> None:
        """Show the recordings that failed or have warnings."""

    def show_summary(self) -> None:
        """Show the counts of the run."""


class PlainDisplay(Display):
    """Plain lines: for logs, pipes and terminals that can't draw."""

    def __init__(self, stats: RunStats, *, verbose: bool = False) -> None:
        super().__init__(stats, verbose=verbose)
        self._last_line_time = time.monotonic()
        self._stage_clock = StageClock()
        self._next_tenth = 1

    def on_notice(self, text: str) -> None:
        """Print the line."""
        self.print_line(text)

    def on_status(self, text: str) -> None:
        """Print the stage."""
        if text:
            self.print_line(text)

    def on_download(self, download: Download, done: int) -> None:
        """Print the announcement, then the progress."""
        if done == 0:
            self.print_line(format_download(download))
        self.on_bytes("downloading", done, download.total_bytes)

    def on_bytes(self, stage: str, done: int, total: int) -> None:
        """Print a line for every tenth of a stage."""
        if self._stage_clock.start_if_new(stage, done):
            self._next_tenth = 1
        tenth = 10 * done // max(total, 1)
        if tenth >= self._next_tenth:
            left = self._stage_clock.seconds_left(done, total)
            self.print_line(f"{stage}: {format_bytes(done, total, left)}")
            self._next_tenth = tenth + 1

    def on_event(self, event: Event | RunEvent) -> None:
        """Count, and print the progress of a long recording from time to time."""
        super().on_event(event)
        if isinstance(event, ChunkDone):
            self._on_chunk(event.job, event.generation)

    def _on_chunk(self, job: Job, generation: Generation) -> None:
        if self.verbose:
            self.print_line(format_chunk(job, generation))
        elif time.monotonic() - self._last_line_time >= PROGRESS_INTERVAL_SECONDS:
            done = format_duration(self.stats.seconds_done(job.index))
            duration = self.stats.duration_of(job.index)
            total = f" of {format_duration(duration)}" if duration else ""
            self.print_line(f"{job.source.name}: {done}{total} done")

    def on_written(self, job: Job, paths: Iterable[Location]) -> None:
        """Print a line for the recording."""
        self.print_line(format_written(self.stats, job, paths))

    def print_line(self, text: str) -> None:
        """Print one line."""
        super().print_line(text)
        self._last_line_time = time.monotonic()

    def show_problems(self, rows: Sequence[ProblemRow]) -> None:
        """Print the table."""
        print_problem_table(rows, stderr_console())

    def show_summary(self) -> None:
        """Print the counts."""
        self.print_line(format_summary(self.stats))


class StageClock:
    """Estimates the remaining time of the stage that reads or writes bytes at present."""

    def __init__(self) -> None:
        self._stage = ""
        self._start_time = 0.0

    def start_if_new(self, stage: str, done: int) -> bool:
        """Start the clock of a new stage; return whether the stage is new."""
        is_new = stage != self._stage or done == 0
        if is_new:
            self._stage = stage
            self._start_time = time.monotonic()
        return is_new

    def seconds_left(self, done: int, total: int) -> float:
        """Return the remaining seconds at the speed since the start; 0 before the first byte."""
        elapsed = time.monotonic() - self._start_time
        return elapsed * (total - done) / done if done else 0.0
