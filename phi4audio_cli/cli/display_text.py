"""The lines and tables that displays show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from phi4audio_cli.cli.console import escape_control
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.formatting import format_duration
from phi4audio_cli.locations import Location
from phi4audio_cli.types import Generation, Job

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download

MAX_TABLE_ROWS = 50
"""The report lists the rows after these."""

ProblemRow: TypeAlias = tuple[str, str, str]
"""A recording, its status, and the reason."""

STATUS_STYLES = {"failed": "red", "warnings": "yellow"}


def stderr_console() -> Console:
    """Return a console on standard error that prints text as it is, without markup."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_problem_table(rows: Sequence[ProblemRow], console: Console) -> None:
    """Print the first rows and the number of the others."""
    table = Table("recording", "", "why", show_lines=False)
    for source, status, reason in rows[:MAX_TABLE_ROWS]:
        reason = reason.removeprefix(f"{source}: ")  # the first column shows it
        table.add_row(
            Text(escape_control(source)),
            Text(status, STATUS_STYLES.get(status, "")),
            Text(escape_control(reason)),
        )
    console.print(table, soft_wrap=False)
    if len(rows) > MAX_TABLE_ROWS:
        console.print(Text(f"and {len(rows) - MAX_TABLE_ROWS} more"))


def format_download(download: Download) -> str:
    """Return the announcement of a download: repository, size and folder."""
    size = format_gigabytes(download.total_bytes)
    return f"downloading {download.repo} ({size} GB) into {download.folder}"


def format_bytes(done: int, total: int, seconds_left: float) -> str:
    """Return the progress of reading or writing bytes: `2.50 of 4.00 GB, 0:12 left`."""
    left = format_duration(seconds_left)
    return f"{format_gigabytes(done)} of {format_gigabytes(total)} GB, {left} left"


def format_gigabytes(count: int) -> str:
    """Return a number of bytes in units of 10^9."""
    return f"{count / 1e9:.2f}"


def format_chunk(job: Job, generation: Generation) -> str:
    """Return the recording, the times and the text of one answer, with its log-probability."""
    chunk = generation.request.chunk
    logprob = generation.avg_logprob
    score = f" (log-probability {logprob:.2f})" if logprob is not None else ""
    # A request without a chunk joins the answers of other requests.
    times = (
        f"{format_duration(chunk.start_seconds)}-{format_duration(chunk.stop_seconds)}"
        if chunk
        else "joined"
    )
    return f"{job.source.name} {times}{score}: {generation.text}"


def format_written(stats: RunStats, job: Job, paths: Iterable[Location]) -> str:
    """Return the number, the name and the outputs of a finished recording."""
    count = f"[{stats.finished}/{stats.files}]"
    return f"{count} {job.source.name} -> {_join_paths(list(paths))}"


def _join_paths(paths: list[Location]) -> str:
    """Return files of one name in short form: `out/talk.txt .json .srt`."""
    if len({path.with_suffix("") for path in paths}) == 1:
        return " ".join([str(paths[0]), *(path.suffix for path in paths[1:])])
    return " ".join(map(str, paths))


def format_summary(stats: RunStats) -> str:
    """Return the number of recordings, the length of their audio, and the speed."""
    skipped = f", {stats.skipped} skipped" if stats.skipped else ""
    failed = f", {stats.failed} failed" if stats.failed else ""
    audio = format_duration(stats.audio_seconds)
    elapsed = format_duration(stats.elapsed_seconds)
    speed = f", RTFx {stats.rtfx:.1f}" if stats.rtfx else ""
    return (
        f"{stats.done} of {stats.files} done{skipped}{failed}: {audio} of audio in {elapsed}{speed}"
    )
