"""One run over recordings: what an earlier run did is taken over, the rest goes to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from phi4audio_cli.cli.delivery import Delivery, Rules
from phi4audio_cli.cli.groups import TaskOptions
from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.engine import Memory
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.report import Report, report_path
from phi4audio_cli.jobs.shelf import Shelf
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.location import Location
from phi4audio_cli.remote import reason
from phi4audio_cli.settings import Settings
from phi4audio_cli.types import Event, Job

Do: TypeAlias = Callable[[Sequence[Job], Memory, Stopper], Iterator[Event]]
"""Loads the model, and does jobs."""


def work(
    jobs: Sequence[Job],
    tasks: Tasks,
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    *,
    suffix: str,
    identify_model: Callable[[], str],
    do: Do,
) -> ExitCode:
    """Do jobs, tell what becomes of them, and write the report, however it ends.

    Args:
        jobs: With their outputs.
        tasks: What to do with each.
        options: Of the command line.
        settings: Of the run.
        display: What the user sees.
        report: On these jobs.
        suffix: Tells the report's file from those of the jobs that work beside it; empty: none do.
        identify_model: Returns the model's fingerprint; nothing is loaded for it.
        do: Does what no earlier run did. Not called where nothing is left.

    Raises:
        Phi4AudioError: Nothing more can be done: the model can't be loaded, its device is lost.
    """
    stop = Stopper()
    path = report_path(jobs, settings.output_dir, options.report_file, suffix=suffix)
    model = identify_model()
    shelf = Shelf(
        lambda job: tasks.identity_of(job, model),
        fetched,
        fresh=options.fresh,
        on_note=display.line,
    )
    rules = Rules(fail_fast=options.fail_fast, strict=options.strict)
    delivery = Delivery(settings, display, shelf, report, rules, stop)
    try:
        with stop.listening(display.line):
            left = list(_left(jobs, shelf, delivery, stop))
            if left and not stop():
                for event in do(left, shelf, stop):
                    delivery.take(event)
    except KeyboardInterrupt:
        stop.interrupted = True
    finally:
        shelf.close()
        written = write_report(report, path, display.line)
    return _end(delivery.exit_code if written else ExitCode.OUTPUT, stop, report, display)


def _left(jobs: Sequence[Job], shelf: Shelf, delivery: Delivery, stop: Stopper) -> Iterator[Job]:
    """Yield the jobs that no earlier run has done; bring the outputs of the others up to date."""
    for job, finished in shelf.look_through(jobs):
        if stop():
            return
        if finished:
            delivery.skip(job, finished)
        else:
            yield job


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
