"""The one flow of every task's command: settings, recordings, model, engine, outputs, exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from phi4audio_cli.cli import machine
from phi4audio_cli.cli.formats import formats_of, output_names
from phi4audio_cli.cli.groups import TaskOptions
from phi4audio_cli.cli.messages import complain
from phi4audio_cli.cli.progress import Display, open_display
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.cli.work import Begin, on_this_machine, work, write_report
from phi4audio_cli.errors import ExitCode, UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.lock import hold
from phi4audio_cli.jobs.outputs import clean_leftovers, plan_jobs
from phi4audio_cli.jobs.report import Report
from phi4audio_cli.jobs.shard import Shard
from phi4audio_cli.jobs.store import check_place
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.location import Location
from phi4audio_cli.settings import Settings, load_settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

MISSING_TOLD = 10
"""Inputs that can't be used, each of which is told; the report has the others too."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was said on the command line."""

    inputs: Sequence[str]
    options: TaskOptions

    @property
    def flags(self) -> Mapping[str, Any]:
        """Settings by key; None where the user said nothing."""
        given = asdict(self.options)
        return {key: given[key] for key in Settings.model_fields if key in given}


def run_task(call: Invocation, make_task: Callable[[Settings], Task]) -> ExitCode:
    """Do a task on the recordings of a command line.

    Args:
        call: The command line.
        make_task: Builds the task when the settings are known.

    Returns:
        The process's exit code, when every recording is done or has failed.

    Raises:
        Phi4AudioError: Nothing can be done at all: settings, output names, model or device.
    """
    options = call.options
    _check_cluster(options)
    shard = Shard.parse(options.shard) if options.shard else None
    settings = load_settings(call.flags, config=options.config)
    for place in (settings.output_dir, options.report_file):
        check_place(place, offline=settings.offline)
    inputs, missing = find_inputs(
        call.inputs, recursive=options.recursive, offline=settings.offline
    )
    _tell_missing(missing)
    tasks = Tasks(settings, make_task)
    formats = formats_of(tasks.usual, settings, asked=options.formats is not None)
    names = output_names(tasks.usual, formats)
    jobs = plan_jobs(inputs, names, settings.output_dir, settings.output_template)
    if shard and jobs:
        jobs = shard.of(jobs)
        if not jobs:
            complain(f"--shard {options.shard}: there are fewer recordings than parts")
            return ExitCode.USAGE if missing else ExitCode.OK
    report = Report(jobs, type(tasks.usual).__name__.lower(), settings.model, missing)
    if not jobs:
        told = write_report(report, options.report_file, complain)
        return ExitCode.USAGE if told else ExitCode.OUTPUT
    written = dict.fromkeys(path.parent for job in jobs for path in job.outputs.values())
    # What lies below a folder that the user named belongs to it.
    held = written if settings.output_dir is None else [settings.output_dir]
    with (
        hold(
            held, shared=options.beside_others, on_alone=lambda: clean_leftovers({*held, *written})
        ),
        open_display(Tally(len(jobs)), quiet=options.quiet, verbose=options.verbose) as display,
    ):
        if options.verbose:
            display.note(f"settings: {settings!r}")
        code = work(
            jobs,
            options,
            settings,
            display,
            report,
            suffix=shard.name if shard else str(os.getpid()) if options.shared else "",
            begin=_place(jobs, make_task, options, settings, display, report, held),
        )
    return code or (ExitCode.USAGE if missing else ExitCode.OK)


def _tell_missing(missing: Sequence[UsageError]) -> None:
    """Complain of inputs that can't be used; of a long list's, the first tell enough."""
    for error in missing[:MISSING_TOLD]:
        complain(str(error))
    if len(missing) > MISSING_TOLD:
        count = f"... of {len(missing)} inputs that can't be used"
        complain(f"{count}: the report lists them all (--report FILE)")


def _place(
    jobs: Sequence[Job],
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    folders: Iterable[Location],
) -> Begin:
    """Return what begins the work, here or on a cluster."""
    if options.cluster:
        from phi4audio_cli.cli.spread import on_cluster

        return lambda stop: on_cluster(
            jobs, make_task, options, settings, display, report, stop, list(folders)
        )
    tasks = Tasks(settings, make_task)
    return lambda stop: on_this_machine(
        jobs,
        tasks,
        settings,
        stop,
        model=machine.identify_model(settings, display),
        fresh=options.fresh,
        say=display.line,
        do=lambda left, memory, stop: machine.task_events(
            left, tasks.usual, settings, display, task_of=tasks.of, memory=memory, stop=stop
        ),
    )


def _check_cluster(options: TaskOptions) -> None:
    if options.cluster:
        from phi4audio_cli.cluster.connect import check_address

        check_address(options.cluster)
    elif options.workers:
        raise UsageError("is for clusters", "--workers", "add --cluster local, for example")
