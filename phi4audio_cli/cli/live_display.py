"""The display for a terminal: progress bars, speed, time left, and the latest text."""

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

from phi4audio_cli.cli.console import escape_control, format_duration
from phi4audio_cli.cli.display import (
    Display,
    ProblemRow,
    format_chunk,
    format_download,
    format_download_progress,
    format_summary,
    format_written,
    print_problem_table,
)
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.locations import Location
from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.types import ChunkDone, Event, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download

MAX_TEXT_LINES = 4
"""Lines of the newest chunk that are shown below the bars."""

BAR_WIDTH = 30


class LiveDisplay(Display):
    """Draws at the foot of the terminal, and clears what it drew when the run ends.

    Args:
        stats: The counts, which the display feeds with the engine's events.
        console: Standard error.
        verbose: Whether every chunk is printed.
    """

    def __init__(self, stats: RunStats, console: Console, *, verbose: bool = False) -> None:
        super().__init__(stats, verbose=verbose)
        self.console = console
        # Rich draws from a thread of its own. Nothing may be printed while this is held: printing
        # waits for the drawing, and the drawing for this.
        self._lock = threading.Lock()
        self._status: RenderableType | None = None
        self._latest_text: Text | None = None
        self._live = self._start_live()

    def _start_live(self) -> Live:
        # The streams stay what they are: transcripts must reach standard output untouched.
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
        """Clear the drawing."""
        self._live.stop()

    def print_line(self, text: str) -> None:
        """Print one line above the drawing."""
        self.console.print(Text(f"phi4audio: {escape_control(text)}"))

    def show_error(self, error: Exception) -> None:
        """Print what went wrong, in red, above the drawing."""
        self.console.print(Text(f"phi4audio: {escape_control(str(error))}", style="red"))

    def on_notice(self, text: str) -> None:
        """Print the remark, in grey, above the drawing."""
        self.console.print(Text(escape_control(text), style="dim"))

    def on_status(self, text: str) -> None:
        """Turn a wheel beside the name of the stage; draw the bars again when there is none."""
        self._set_status(Spinner("dots", Text(escape_control(text))) if text else None)

    def on_download(self, download: Download, done: int) -> None:
        """Print the announcement, and draw a bar."""
        if done == 0:
            self.print_line(format_download(download))
        amount = Text(format_download_progress(download, done))
        self._set_status(_bar_row("download", _progress_bar(done, download.total_bytes), amount))

    def on_model_loaded(self) -> None:
        """Draw the bars of the run from now on."""
        super().on_model_loaded()
        self._set_status(None)

    def on_event(self, event: Event | RunEvent) -> None:
        """Count, and show the newest text."""
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
        """Print where the recording's outputs lie."""
        self.on_notice(format_written(self.stats, job, paths))

    @contextmanager
    def paused(self, job: Job) -> Iterator[None]:
        """Clear the drawing while a transcript is printed; name it where both share a screen."""
        self._live.stop()
        if self.stats.files > 1 and sys.stdout.isatty():
            self.console.print(Text(f"── {escape_control(job.source.name)}", style="bold"))
        try:
            yield
        finally:
            # Not the same one again: it would go up as many lines as it drew before, and write
            # over what came meanwhile.
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
            newest = [] if self._latest_text is None else [self._crop(self._latest_text)]
            return Group(_run_bars(self.stats), *newest)

    def _crop(self, text: Text) -> Text:
        lines = text.wrap(self.console, self.console.width)
        return Text("\n").join(lines[:MAX_TEXT_LINES])


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
    table.add_column(width=8)
    table.add_column(width=BAR_WIDTH)
    table.add_column(no_wrap=True)
    table.add_row(name, bar, text)
    return table


def _progress_bar(done: float, total: float | None) -> ProgressBar:
    """Return a bar; one that pulses where the whole is not known."""
    return ProgressBar(total=total, completed=done, pulse=total is None, width=BAR_WIDTH)
