"""The display for a terminal: progress bars, speed, time left, and the latest text.

`open_display` chooses between it and the displays in display.py.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from phi4audio_cli.cli.console import escape_control
from phi4audio_cli.cli.display import Display, PlainDisplay, StageClock
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
from phi4audio_cli.types import ChunkDone, Event, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download

MAX_TEXT_LINES = 4
"""Lines of the latest chunk below the bars."""

BAR_WIDTH = 30


class LiveDisplay(Display):
    """Draws at the bottom of the terminal, and removes the drawing when the run ends.

    Args:
        stats: The counts, which the display updates from the events of the pipeline.
        console: Standard error.
        verbose: Whether to print every chunk.
    """

    def __init__(self, stats: RunStats, console: Console, *, verbose: bool = False) -> None:
        super().__init__(stats, verbose=verbose)
        self.console = console
        # Rich draws in a thread of its own. Printing while this lock is held is a deadlock:
        # printing waits for the drawing, and the drawing for the lock.
        self._lock = threading.Lock()
        self._stage_clock = StageClock()
        self._status: RenderableType | None = None
        self._latest_text: Text | None = None
        self._live = self._start_live()

    def _start_live(self) -> Live:
        # Rich must not redirect the streams: transcripts go to standard output unchanged.
        live = Live(
            get_renderable=self._render,
            console=self.console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        return live

    def close(self) -> None:
        """Remove the drawing."""
        self._live.stop()

    def print_line(self, text: str) -> None:
        """Print one line above the drawing."""
        self.console.print(Text(f"phi4audio: {escape_control(text)}"))

    def show_error(self, error: Exception) -> None:
        """Print the error, in red, above the drawing."""
        self.console.print(Text(f"phi4audio: {escape_control(str(error))}", style="red"))

    def on_notice(self, text: str) -> None:
        """Print the line, in grey, above the drawing."""
        self.console.print(Text(escape_control(text), style="dim"))

    def on_status(self, text: str) -> None:
        """Show a spinner and the name of the stage; the bars of the run without a stage."""
        self._set_status(Spinner("dots", Text(escape_control(text))) if text else None)

    def on_download(self, download: Download, done: int) -> None:
        """Print the announcement, and draw a bar."""
        if done == 0:
            self.print_line(format_download(download))
        self.on_bytes("downloading", done, download.total_bytes)

    def on_bytes(self, stage: str, done: int, total: int) -> None:
        """Draw a bar in place of those of the run."""
        self._stage_clock.start_if_new(stage, done)
        text = Text(format_bytes(done, total, self._stage_clock.seconds_left(done, total)))
        self._set_status(_bar_row(stage, _progress_bar(done, total), text))

    def on_model_loaded(self) -> None:
        """Start the clock, and draw the bars of the run."""
        super().on_model_loaded()
        self._set_status(None)

    def on_event(self, event: Event | RunEvent) -> None:
        """Count, and show the latest text."""
        super().on_event(event)
        if not isinstance(event, ChunkDone):
            return
        text = format_chunk(event.job, event.generation)
        if self.verbose:
            self.on_notice(text)
        else:
            with self._lock:
                self._latest_text = Text(escape_control(text), style="dim")

    def _update_stats(self, event: Event | RunEvent) -> None:
        with self._lock:
            super()._update_stats(event)

    def on_written(self, job: Job, paths: Iterable[Location]) -> None:
        """Print the outputs of the recording."""
        self.on_notice(format_written(self.stats, job, paths))

    @contextmanager
    def paused(self, job: Job) -> Iterator[None]:
        """Remove the drawing while a transcript is printed; print its name on a shared screen."""
        self._live.stop()
        if self.stats.files > 1 and sys.stdout.isatty():
            self.console.print(Text(f"── {escape_control(job.source.name)}", style="bold"))
        try:
            yield
        finally:
            # A Live that starts again moves the cursor up by the lines it drew before, and would
            # overwrite the transcript.
            self._live = self._start_live()

    def show_problems(self, rows: Sequence[ProblemRow]) -> None:
        """Print the table above the drawing."""
        print_problem_table(rows, self.console)

    def show_summary(self) -> None:
        """Print the counts."""
        self.on_notice(format_summary(self.stats))

    def _set_status(self, status: RenderableType | None) -> None:
        with self._lock:
            self._status = status

    def _render(self) -> RenderableType:
        with self._lock:
            if self._status is not None:
                return self._status
            if not self.stats.files:
                return Text()
            latest = [] if self._latest_text is None else [self._crop(self._latest_text)]
            return Group(_run_bars(self.stats), *latest)

    def _crop(self, text: Text) -> Text:
        lines = text.wrap(self.console, self.console.width)
        return Text("\n").join(lines[:MAX_TEXT_LINES])


def open_display(stats: RunStats, *, quiet: bool, verbose: bool) -> Display:
    """Return the display that fits standard error."""
    if quiet:
        return Display(stats, verbose=verbose)
    console = stderr_console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(stats, console, verbose=verbose)
    return PlainDisplay(stats, verbose=verbose)


def _run_bars(stats: RunStats) -> Table:
    left, speed, total = stats.seconds_left, stats.rtfx, stats.total_audio_seconds
    audio = Text(format_duration(stats.audio_seconds))
    audio.append(f" of {format_duration(total)}" if total else "")
    audio.append(f"  RTFx {speed:.1f}" if speed else "")
    audio.append(f"  {format_duration(left)} left" if left is not None else "")
    table = _bar_row(
        "files",
        _progress_bar(stats.finished, stats.files),
        Text(f"{stats.finished} of {stats.files}"),
    )
    table.add_row("audio", _progress_bar(stats.audio_seconds, total), audio)
    return table


def _bar_row(name: str, bar: ProgressBar, text: Text) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=8)
    table.add_column(width=BAR_WIDTH)
    table.add_column(no_wrap=True)
    table.add_row(name, bar, text)
    return table


def _progress_bar(done: float, total: float | None) -> ProgressBar:
    """Return a bar; it pulses if the total is unknown."""
    return ProgressBar(total=total, completed=done, pulse=total is None, width=BAR_WIDTH)
