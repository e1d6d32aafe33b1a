"""What the user sees while a run goes on, all of it on standard error.

`Display` shows problems only (`--quiet`), `PlainDisplay` adds plain lines, `LiveDisplay` (live.py)
draws bars in a terminal. They listen to the engine's events; the engine knows none of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from phi4audio_cli.cli.messages import clock, complain
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.jobs.filing import Told
from phi4audio_cli.location import Location
from phi4audio_cli.types import ChunkDone, Event, Generation, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.resolve import Download
    from phi4audio_cli.cli.table import Row

PLAIN_INTERVAL = 10.0
"""Seconds between two lines about a recording under way, where there is no terminal."""


class Display:
    """Shows problems and nothing else; the base of the other displays.

    Args:
        tally: The counts, which the display feeds with the engine's events.
        verbose: Whether every chunk is shown.
    """

    def __init__(self, tally: Tally, *, verbose: bool = False) -> None:
        self.tally = tally
        self.verbose = verbose
        self._prompt = ""

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

    def line(self, text: str) -> None:
        """Print one line, whatever is drawn at the moment."""
        complain(text)

    def problem(self, error: Exception) -> None:
        """Say what went wrong with one recording."""
        self.line(str(error))

    def note(self, text: str) -> None:
        """Say something that is good to know."""

    def stage(self, text: str) -> None:
        """Say what is going on while there is nothing to count; empty: there is again."""

    def download(self, download: Download, done: int) -> None:
        """Show how many bytes of a model have come; 0 announces it."""

    def begin(self) -> None:
        """Start counting: the model is there."""
        self.tally.begin()

    def take(self, event: Event | Told) -> None:
        """Take one event of the engine into the counts."""
        self._count(event)
        if self.verbose and isinstance(event, ChunkDone):
            self._tell_prompt(event.generation.request.prompt)

    def _count(self, event: Event | Told) -> None:
        self.tally.take(event)

    def _tell_prompt(self, prompt: str) -> None:
        if prompt != self._prompt:
            self._prompt = prompt
            self.note(f"prompt: {prompt}")

    def wrote(self, job: Job, paths: Iterable[Location]) -> None:
        """Say that a recording is done and where its outputs lie."""

    def skip(self, job: Job, why: str) -> None:
        """Say that nothing is to be done for a recording."""
        self.tally.skip()
        self.note(f"[{self.tally.finished}/{self.tally.files}] {job.source.name}: {why}")

    def warn(self, job: Job, warning: str) -> None:
        """Say what to know of a recording that is done."""
        self.line(f"{job.source}: {warning}")

    def aside(self, job: Job) -> AbstractContextManager[object]:
        """Make room for a recording's transcript, which is printed to standard output."""
        return contextlib.nullcontext()

    def table(self, rows: Sequence[Row]) -> None:
        """Show the recordings that failed, or that are to be looked over."""

    def summary(self) -> None:
        """Say how the run went."""


class PlainDisplay(Display):
    """Plain lines: for logs, pipes and terminals that can't draw."""

    def __init__(self, tally: Tally, *, verbose: bool = False) -> None:
        super().__init__(tally, verbose=verbose)
        self._last_line = time.monotonic()
        self._next_tenth = 1

    def note(self, text: str) -> None:
        """Print the remark."""
        self.line(text)

    def stage(self, text: str) -> None:
        """Print the stage."""
        if text:
            self.line(text)

    def download(self, download: Download, done: int) -> None:
        """Print the announcement, then a line for every tenth."""
        tenth = 10 * done // max(download.total_bytes, 1)
        if done == 0:
            self.line(announce(download))
        elif tenth >= self._next_tenth:
            self.line(f"downloaded {describe_bytes(download, done)}")
            self._next_tenth = tenth + 1

    def take(self, event: Event | Told) -> None:
        """Count, and say now and then how far a long recording is."""
        super().take(event)
        if isinstance(event, ChunkDone):
            self._took_chunk(event.job, event.generation)

    def _took_chunk(self, job: Job, generation: Generation) -> None:
        if self.verbose:
            self.line(describe_chunk(job, generation))
        elif time.monotonic() - self._last_line >= PLAIN_INTERVAL:
            length = self.tally.length(job.index)
            of = f" of {clock(length)}" if length else ""
            self.line(f"{job.source.name}: {clock(self.tally.heard(job.index))}{of} done")

    def wrote(self, job: Job, paths: Iterable[Location]) -> None:
        """Print a line for the recording."""
        self.line(describe_outputs(self.tally, job, paths))

    def line(self, text: str) -> None:
        """Print one line."""
        super().line(text)
        self._last_line = time.monotonic()

    def table(self, rows: Sequence[Row]) -> None:
        """Print the table."""
        from phi4audio_cli.cli.table import error_console, print_table

        print_table(rows, error_console())

    def summary(self) -> None:
        """Print the counts."""
        self.line(describe_run(self.tally))


def open_display(tally: Tally, *, quiet: bool, verbose: bool) -> Display:
    """Choose the display that fits standard error."""
    if quiet:
        return Display(tally, verbose=verbose)
    from phi4audio_cli.cli.live import LiveDisplay
    from phi4audio_cli.cli.table import error_console

    console = error_console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(tally, console, verbose=verbose)
    return PlainDisplay(tally, verbose=verbose)


def announce(download: Download) -> str:
    """Say what will be downloaded, how much it is, and where it will lie."""
    size = gigabytes(download.total_bytes)
    return f"downloading {download.repo} ({size} GB) into {download.folder}"


def describe_bytes(download: Download, done: int) -> str:
    """Say how many bytes of a download have come."""
    return f"{gigabytes(done)} of {gigabytes(download.total_bytes)} GB"


def gigabytes(count: int) -> str:
    """Say a number of bytes in units of 10^9."""
    return f"{count / 1e9:.2f}"


def describe_chunk(job: Job, generation: Generation) -> str:
    """Say what was heard in one chunk, and how sure the model was."""
    chunk = generation.request.chunk
    logprob = generation.avg_logprob
    sure = f" (log-probability {logprob:.2f})" if logprob is not None else ""
    # A chunk tells what was heard; without one the model read its own answers.
    times = f"{clock(chunk.start_seconds)}-{clock(chunk.stop_seconds)}" if chunk else "joined"
    return f"{job.source.name} {times}{sure}: {generation.text}"


def describe_outputs(tally: Tally, job: Job, paths: Iterable[Location]) -> str:
    """Say which recording is done, and where its outputs lie."""
    count = f"[{tally.finished}/{tally.files}]"
    return f"{count} {job.source.name} -> {_joined(list(paths))}"


def _joined(paths: list[Location]) -> str:
    """Name files shortly: `out/talk.txt .json .srt`."""
    if len({path.with_suffix("") for path in paths}) == 1:
        return " ".join([str(paths[0]), *(path.suffix for path in paths[1:])])
    return " ".join(map(str, paths))


def describe_run(tally: Tally) -> str:
    """Say how many recordings were done, how much audio, and how fast."""
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    failed = f", {tally.failed} failed" if tally.failed else ""
    speed = f", RTFx {tally.rtfx:.1f}" if tally.rtfx else ""
    return (
        f"{tally.done} of {tally.files} done{skipped}{failed}: {clock(tally.audio)} of audio "
        f"in {clock(tally.elapsed)}{speed}"
    )
