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
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from phi4audio_cli.backend_loader import Listener
from phi4audio_cli.cli.console import escape_control, format_duration, print_message
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.locations import Location
from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.types import ChunkDone, Event, Generation, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download

MAX_TABLE_ROWS = 50
"""Further ones are in the report only."""

ProblemRow: TypeAlias = tuple[str, str, str]
"""A recording, what became of it, and why."""

STATUS_STYLES = {"failed": "red", "warnings": "yellow"}


def stderr_console() -> Console:
    """Return a console on standard error that prints text as it is, without markup."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_problem_table(rows: Sequence[ProblemRow], console: Console) -> None:
    """Print rows, the first ones where there are very many."""
    table = Table("recording", "", "why", show_lines=False)
    for source, status, why in rows[:MAX_TABLE_ROWS]:
        why = why.removeprefix(f"{source}: ")  # it stands in the first column
        table.add_row(
            Text(escape_control(source)),
            Text(status, STATUS_STYLES.get(status, "")),
            Text(escape_control(why)),
        )
    console.print(table, soft_wrap=False)
    if len(rows) > MAX_TABLE_ROWS:
        console.print(Text(f"and {len(rows) - MAX_TABLE_ROWS} more"))


PROGRESS_INTERVAL_SECONDS = 10.0
"""Seconds between two lines about a recording under way, where there is no terminal."""


class Display(Listener):
    """Shows problems and nothing else; the base of the other displays.

    Args:
        stats: The counts, which the display feeds with the engine's events.
        verbose: Whether every chunk is shown.
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
        """Leave the screen as a line-by-line program would."""

    def print_line(self, text: str) -> None:
        """Print one line, whatever is drawn at the moment."""
        print_message(text)

    def show_error(self, error: Exception) -> None:
        """Say what went wrong with one recording."""
        self.print_line(str(error))

    def on_notice(self, text: str) -> None:
        """Say something that is good to know."""

    def on_status(self, text: str) -> None:
        """Say what is going on while there is nothing to count; empty: there is again."""

    def on_download(self, download: Download, done: int) -> None:
        """Show how many bytes of a model have come; 0 announces it."""

    def on_model_loaded(self) -> None:
        """Start counting: the model is there."""
        self.stats.start_clock()

    def on_event(self, event: Event | RunEvent) -> None:
        """Take one event of the engine into the counts."""
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
        """Say that a recording is done and where its outputs lie."""

    def on_skipped(self, job: Job, why: str) -> None:
        """Say that nothing is to be done for a recording."""
        self.stats.add_skipped()
        self.on_notice(f"[{self.stats.finished}/{self.stats.files}] {job.source.name}: {why}")

    def on_warning(self, job: Job, warning: str) -> None:
        """Say what to know of a recording that is done."""
        self.print_line(f"{job.source}: {warning}")

    def paused(self, job: Job) -> AbstractContextManager[object]:
        """Make room for a recording's transcript, which is printed to standard output."""
        return contextlib.nullcontext()

    def show_problems(self, rows: Sequence[ProblemRow]) -> None:
        """Show the recordings that failed, or that are to be looked over."""

    def show_summary(self) -> None:
        """Say how the run went."""


class PlainDisplay(Display):
    """Plain lines: for logs, pipes and terminals that can't draw."""

    def __init__(self, stats: RunStats, *, verbose: bool = False) -> None:
        super().__init__(stats, verbose=verbose)
        self._last_line_time = time.monotonic()
        self._next_tenth = 1

    def on_notice(self, text: str) -> None:
        """Print the remark."""
        self.print_line(text)

    def on_status(self, text: str) -> None:
        """Print the stage."""
        if text:
            self.print_line(text)

    def on_download(self, download: Download, done: int) -> None:
        """Print the announcement, then a line for every tenth."""
        tenth = 10 * done // max(download.total_bytes, 1)
        if done == 0:
            self.print_line(format_download(download))
        elif tenth >= self._next_tenth:
            self.print_line(f"downloaded {format_download_progress(download, done)}")
            self._next_tenth = tenth + 1

    def on_event(self, event: Event | RunEvent) -> None:
        """Count, and say now and then how far a long recording is."""
        super().on_event(event)
        if isinstance(event, ChunkDone):
            self._on_chunk(event.job, event.generation)

    def _on_chunk(self, job: Job, generation: Generation) -> None:
        if self.verbose:
            self.print_line(format_chunk(job, generation))
        elif time.monotonic() - self._last_line_time >= PROGRESS_INTERVAL_SECONDS:
            length = self.stats.duration_of(job.index)
            of = f" of {format_duration(length)}" if length else ""
            self.print_line(
                f"{job.source.name}: {format_duration(self.stats.seconds_done(job.index))}{of} done"
            )

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


def open_display(stats: RunStats, *, quiet: bool, verbose: bool) -> Display:
    """Choose the display that fits standard error."""
    if quiet:
        return Display(stats, verbose=verbose)
    from phi4audio_cli.cli.live_display import LiveDisplay

    console = stderr_console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(stats, console, verbose=verbose)
    return PlainDisplay(stats, verbose=verbose)


def format_download(download: Download) -> str:
    """Say what will be downloaded, how much it is, and where it will lie."""
    size = format_gigabytes(download.total_bytes)
    return f"downloading {download.repo} ({size} GB) into {download.folder}"


def format_download_progress(download: Download, done: int) -> str:
    """Say how many bytes of a download have come."""
    return f"{format_gigabytes(done)} of {format_gigabytes(download.total_bytes)} GB"


def format_gigabytes(count: int) -> str:
    """Say a number of bytes in units of 10^9."""
    return f"{count / 1e9:.2f}"


def format_chunk(job: Job, generation: Generation) -> str:
    """Say what was heard in one chunk, and how sure the model was."""
    chunk = generation.request.chunk
    logprob = generation.avg_logprob
    sure = f" (log-probability {logprob:.2f})" if logprob is not None else ""
    # A chunk tells what was heard; without one the model read its own answers.
    times = (
        f"{format_duration(chunk.start_seconds)}-{format_duration(chunk.stop_seconds)}"
        if chunk
        else "joined"
    )
    return f"{job.source.name} {times}{sure}: {generation.text}"


def format_written(stats: RunStats, job: Job, paths: Iterable[Location]) -> str:
    """Say which recording is done, and where its outputs lie."""
    count = f"[{stats.finished}/{stats.files}]"
    return f"{count} {job.source.name} -> {_join_paths(list(paths))}"


def _join_paths(paths: list[Location]) -> str:
    """Name files shortly: `out/talk.txt .json .srt`."""
    if len({path.with_suffix("") for path in paths}) == 1:
        return " ".join([str(paths[0]), *(path.suffix for path in paths[1:])])
    return " ".join(map(str, paths))


def format_summary(stats: RunStats) -> str:
    """Say how many recordings were done, how much audio, and how fast."""
    skipped = f", {stats.skipped} skipped" if stats.skipped else ""
    failed = f", {stats.failed} failed" if stats.failed else ""
    speed = f", RTFx {stats.rtfx:.1f}" if stats.rtfx else ""
    return (
        f"{stats.done} of {stats.files} done{skipped}{failed}: {format_duration(stats.audio_seconds)} of audio "
        f"in {format_duration(stats.elapsed_seconds)}{speed}"
    )
