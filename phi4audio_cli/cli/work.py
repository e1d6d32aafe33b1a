"""One run over recordings: what an earlier run did is taken over, the rest goes to the engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeAlias

from phi4audio_cli.cli.delivery import Delivery, Rules
from phi4audio_cli.cli.groups import TaskOptions
from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.engine import Memory
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.jobs.backlog import file_each, take_up
from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.filing import Filing, Told
from phi4audio_cli.jobs.report import Report, report_path
from phi4audio_cli.jobs.shelf import Shelf
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.location import Location
from phi4audio_cli.remote import reason
from phi4audio_cli.settings import Settings
from phi4audio_cli.types import Event, Job

Do: TypeAlias = Callable[[Sequence[Job], Memory, Stopper], Generator[Event]]
"""Loads the model, and does jobs."""

Begin: TypeAlias = Callable[[Stopper], Generator[Told]]
"""Begins to do jobs, somewhere, until it is asked to stop."""


def work(
    jobs: Sequence[Job],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    *,
    suffix: str,
    begin: Begin,
) -> ExitCode:
    """Do jobs, tell what becomes of them, and write the report, however it ends.

    Args:
        jobs: With their outputs.
        options: Of the command line.
        settings: Of the run.
        display: What the user sees.
        report: On these jobs.
        suffix: Tells the report's file from those of the jobs that work beside it; empty: none do.
        begin: Does the jobs.

    Raises:
        Phi4AudioError: Nothing more can be done: the model can't be loaded, its device is lost.
    """
    stop = Stopper()
    path = report_path(jobs, settings.output_dir, options.report_file, suffix=suffix)
    events = begin(stop)
    rules = Rules(fail_fast=options.fail_fast, strict=options.strict)
    delivery = Delivery(display, report, rules, stop)
    try:
        with stop.listening(display.line), closing(events):
            for told in events:
                delivery.take(told)
    except KeyboardInterrupt:
        stop.interrupted = True
    finally:
        written = write_report(report, path, display.line)
    return _end(delivery.exit_code if written else ExitCode.OUTPUT, stop, report, display)


def on_this_machine(
    jobs: Sequence[Job],
    tasks: Tasks,
    settings: Settings,
    stop: Stopper,
    *,
    model: str,
    fresh: bool,
    say: Callable[[str], None],
    do: Do,
) -> Generator[Told]:
    """Do jobs here: first what an earlier run did is brought up to date, then the rest is done.

    Args:
        jobs: With their outputs.
        tasks: What to do with each.
        settings: Of the run.
        stop: Ends it.
        model: The model's fingerprint.
        fresh: Whether to forget what earlier runs did.
        say: Told in a line what a user should know.
        do: Does what no earlier run did. Not called where nothing is left.
    """
    shelf = Shelf(lambda job: tasks.identity_of(job, model), fetched, fresh=fresh, on_note=say)
    filing = Filing(settings, shelf)
    left = []
    try:
        for job, filed in take_up(jobs, shelf, filing):
            if stop():
                return
            if filed:
                yield filed
            else:
                left.append(job)
        if left and not stop():
            with closing(do(left, shelf, stop)) as events:
                yield from file_each(events, filing)
    finally:
        shelf.close()


def write_report(report: Report, path: Location | None, say: Callable[[str], None]) -> bool:
    """Write the report, if it is wanted; return False where it can't be, and say so."""
    try:
        if path is not None:
            report.write(path)
    except OSError as error:
        say(f"{path}: the report can't be written: {reason(error)}")
        return False
    return True


def _end(code: ExitCode, stop: Stopper, report: Report, display: Display) -> ExitCode:
    if troubles := report.troubles():
        display.table([(each.source, each.status, each.why) for each in troubles])
    if not stop.interrupted:
        display.summary()
        return code
    counts = display.tally
    display.line(
        f"interrupted; {counts.done + counts.skipped} of {counts.files} recordings are done; "
        "the same command goes on from here"
    )
    return ExitCode.INTERRUPTED
