"""The display for a terminal: bars, speed, time left, and the text as it comes."""

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

from phi4audio_cli.cli.messages import clock, printable
from phi4audio_cli.cli.progress import (
    Display,
    announce,
    describe_bytes,
    describe_chunk,
    describe_outputs,
    describe_run,
)
from phi4audio_cli.cli.table import Row, print_table
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.jobs.filing import Told
from phi4audio_cli.location import Location
from phi4audio_cli.types import ChunkDone, Event, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.resolve import Download

TEXT_LINES = 4
"""Lines of the newest chunk that are shown below the bars."""

BAR_WIDTH = 30


class LiveDisplay(Display):
    """Draws at the foot of the terminal, and clears what it drew when the run ends.

    Args:
        tally: The counts, which the display feeds with the engine's events.
        console: Standard error.
        verbose: Whether every chunk is printed.
    """

    def __init__(self, tally: Tally, console: Console, *, verbose: bool = False) -> None:
        super().__init__(tally, verbose=verbose)
        self.console = console
        # Rich draws from a thread of its own. Nothing may be printed while this is held: printing
        # waits for the drawing, and the drawing for this.
        self._lock = threading.Lock()
        self._stage: RenderableType | None = None
        self._newest: Text | None = None
        self._live = self._start()

    def _start(self) -> Live:
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

    def line(self, text: str) -> None:
        """Print one line above the drawing."""
        self.console.print(Text(f"phi4audio: {printable(text)}"))

    def problem(self, error: Exception) -> None:
        """Print what went wrong, in red, above the drawing."""
        self.console.print(Text(f"phi4audio: {printable(str(error))}", style="red"))

    def note(self, text: str) -> None:
        """Print the remark, in grey, above the drawing."""
        self.console.print(Text(printable(text), style="dim"))

    def stage(self, text: str) -> None:
        """Turn a wheel beside the name of the stage; draw the bars again when there is none."""
        self._show(Spinner("dots", Text(printable(text))) if text else None)

    def download(self, download: Download, done: int) -> None:
        """Print the announcement, and draw a bar."""
        if done == 0:
            self.line(announce(download))
        amount = Text(describe_bytes(download, done))
        self._show(_row("download", _bar(done, download.total_bytes), amount))

    def begin(self) -> None:
        """Draw the bars of the run from now on."""
        super().begin()
        self._show(None)

    def take(self, event: Event | Told) -> None:
        """Count, and show the newest text."""
        super().take(event)
        if not isinstance(event, ChunkDone):
            return
        text = describe_chunk(event.job, event.generation)
        if self.verbose:
            self.note(text)
        else:
            with self._lock:
                self._newest = Text(printable(text), style="dim")

    def _count(self, event: Event | Told) -> None:
        with self._lock:
            super()._count(event)

    def wrote(self, job: Job, paths: Iterable[Location]) -> None:
        """Print where the recording's outputs lie."""
        self.note(describe_outputs(self.tally, job, paths))

    @contextmanager
    def aside(self, job: Job) -> Iterator[None]:
        """Clear the drawing while a transcript is printed; name it where both share a screen."""
        self._live.stop()
        if self.tally.files > 1 and sys.stdout.isatty():
            self.console.print(Text(f"── {printable(job.source.name)}", style="bold"))
        try:
            yield
        finally:
            # Not the same one again: it would go up as many lines as it drew before, and write
            # over what came meanwhile.
            self._live = self._start()

    def table(self, rows: Sequence[Row]) -> None:
        """Print the table above the drawing."""
        print_table(rows, self.console)

    def summary(self) -> None:
        """Print the counts."""
        self.note(describe_run(self.tally))

    def _show(self, stage: RenderableType | None) -> None:
        with self._lock:
            self._stage = stage

    def _render(self) -> RenderableType:
        with self._lock:
            if self._stage is not None:
                return self._stage
            newest = [] if self._newest is None else [self._crop(self._newest)]
            return Group(_bars(self.tally), *newest)

    def _crop(self, text: Text) -> Text:
        lines = text.wrap(self.console, self.console.width)
        return Text("\n").join(lines[:TEXT_LINES])


def _bars(tally: Tally) -> Table:
    left, speed, total = tally.seconds_left, tally.rtfx, tally.total_audio
    audio = Text(clock(tally.audio))
    audio.append(f" of {clock(total)}" if total else "")
    audio.append(f"  RTFx {speed:.1f}" if speed else "")
    audio.append(f"  {clock(left)} left" if left is not None else "")
    table = _row(
        "files", _bar(tally.finished, tally.files), Text(f"{tally.finished} of {tally.files}")
    )
    table.add_row("audio", _bar(tally.audio, total), audio)
    return table


def _row(name: str, bar: ProgressBar, text: Text) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=8)
    table.add_column(width=BAR_WIDTH)
    table.add_column(no_wrap=True)
    table.add_row(name, bar, text)
    return table


def _bar(done: float, total: float | None) -> ProgressBar:
    """Return a bar; one that pulses where the whole is not known."""
    return ProgressBar(total=total, completed=done, pulse=total is None, width=BAR_WIDTH)
