"""The flow of every task command: settings, recordings, locks, the run, report and exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from phi4audio_cli.cli import local_session
from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.display import Display, open_display
from phi4audio_cli.cli.format_options import output_suffixes, resolve_formats
from phi4audio_cli.cli.option_groups import TaskOptions
from phi4audio_cli.cli.run_reporter import ExitPolicy, RunReporter
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.errors import ExitCode, UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.jobs.output_paths import plan_jobs
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.jobs.shard import Shard
from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.pipeline import AnswerStore
from phi4audio_cli.pipeline.output_writer import (
    OutputWriter,
    RunEvent,
    restore_finished,
    write_concurrently,
)
from phi4audio_cli.settings import Settings, load_settings
from phi4audio_cli.locations import Location
from phi4audio_cli.storage import check_location, error_reason, remove_temporary_files
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Job

RunJobs: TypeAlias = Callable[[Sequence[Job], AnswerStore, CancelToken], Generator[Event]]
"""Loads the model, and does jobs."""

StartRun: TypeAlias = Callable[[CancelToken], Generator[RunEvent]]
"""Begins to do jobs, somewhere, until it is asked to stop."""


def run_and_report(
    jobs: Sequence[Job],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    *,
    suffix: str,
    start: StartRun,
) -> ExitCode:
    """Do jobs, tell what becomes of them, and write the report, however it ends.

    Args:
        jobs: With their outputs.
        options: Of the command line.
        settings: Of the run.
        display: What the user sees.
        report: On these jobs.
        suffix: Tells the report's file from those of the jobs that work beside it; empty: none do.
        start: Does the jobs.

    Raises:
        Phi4AudioError: Nothing more can be done: the model can't be loaded, its device is lost.
    """
    stop = CancelToken()
    path = report_path(jobs, settings.output_dir, options.report_file, suffix=suffix)
    events = start(stop)
    rules = ExitPolicy(fail_fast=options.fail_fast, strict=options.strict)
    delivery = RunReporter(display, report, rules, stop)
    try:
        with stop.handle_signals(display.print_line), closing(events):
            for told in events:
                delivery.handle(told)
    except KeyboardInterrupt:
        stop.interrupted = True
    finally:
        written = write_report(report, path, display.print_line)
    return _finish(delivery.exit_code if written else ExitCode.OUTPUT, stop, report, display)


def run_local(
    jobs: Sequence[Job],
    tasks: TaskFactory,
    settings: Settings,
    cancel_token: CancelToken,
    *,
    model: str,
    fresh: bool,
    on_notice: Callable[[str], None],
    run_jobs: RunJobs,
) -> Generator[RunEvent]:
    """Do jobs here: first what an earlier run did is brought up to date, then the rest is done.

    Args:
        jobs: With their outputs.
        tasks: What to do with each.
        settings: Of the run.
        cancel_token: Ends it.
        model: The model's fingerprint.
        fresh: Whether to forget what earlier runs did.
        on_notice: Told in a line what a user should know.
        run_jobs: Does what no earlier run did. Not called where nothing is left.
    """
    shelf = ResumeStore(
        lambda job: tasks.identity_of(job, model), open_local_copy, fresh=fresh, on_notice=on_notice
    )
    filing = OutputWriter(settings, shelf)
    left = []
    try:
        for job, filed in restore_finished(jobs, shelf, filing):
            if cancel_token():
                return
            if filed:
                yield filed
            else:
                left.append(job)
        if left and not cancel_token():
            with closing(run_jobs(left, shelf, cancel_token)) as events:
                yield from write_concurrently(events, filing)
    finally:
        shelf.close()


def write_report(report: Report, path: Location | None, on_notice: Callable[[str], None]) -> bool:
    """Write the report, if it is wanted; return False where it can't be, and say so."""
    try:
        if path is not None:
            report.write(path)
    except OSError as error:
        on_notice(f"{path}: the report can't be written: {error_reason(error)}")
        return False
    return True


def _finish(
    code: ExitCode, cancel_token: CancelToken, report: Report, display: Display
) -> ExitCode:
    if troubles := report.problems():
        display.show_problems([(each.source, each.status, each.message) for each in troubles])
    if not cancel_token.interrupted:
        display.show_summary()
        return code
    counts = display.stats
    display.print_line(
        f"interrupted; {counts.done + counts.skipped} of {counts.files} recordings are done; "
        "the same command goes on from here"
    )
    return ExitCode.INTERRUPTED


MAX_MISSING_SHOWN = 10
"""Inputs that can't be used, each of which is told; the report has the others too."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What was said on the command line."""

    inputs: Sequence[str]
    options: TaskOptions

    @property
    def flags(self) -> Mapping[str, Any]:
        """Settings by key; None where the user said nothing."""
        given = asdict(self.options)
        return {key: given[key] for key in Settings.model_fields if key in given}


def run_task(command_line: CommandLine, make_task: Callable[[Settings], Task]) -> ExitCode:
    """Do a task on the recordings of a command line.

    Args:
        command_line: The command line.
        make_task: Builds the task when the settings are known.

    Returns:
        The process's exit code, when every recording is done or has failed.

    Raises:
        Phi4AudioError: Nothing can be done at all: settings, output names, model or device.
    """
    options = command_line.options
    _check_cluster_options(options)
    shard = Shard.parse(options.shard) if options.shard else None
    settings = load_settings(command_line.flags, config=options.config)
    for place in (settings.output_dir, options.report_file):
        check_location(place, offline=settings.offline)
    inputs, missing = find_inputs(
        command_line.inputs, recursive=options.recursive, offline=settings.offline
    )
    _print_missing(missing)
    tasks = TaskFactory(settings, make_task)
    formats = resolve_formats(tasks.default, settings, explicit=options.formats is not None)
    names = output_suffixes(tasks.default, formats)
    jobs = plan_jobs(inputs, names, settings.output_dir, settings.output_template)
    if shard and jobs:
        jobs = shard.select_jobs(jobs)
        if not jobs:
            print_message(f"--shard {options.shard}: there are fewer recordings than parts")
            return ExitCode.USAGE if missing else ExitCode.OK
    report = Report(jobs, type(tasks.default).__name__.lower(), settings.model, missing)
    if not jobs:
        told = write_report(report, options.report_file, print_message)
        return ExitCode.USAGE if told else ExitCode.OUTPUT
    written = dict.fromkeys(path.parent for job in jobs for path in job.outputs.values())
    # What lies below a folder that the user named belongs to it.
    held = written if settings.output_dir is None else [settings.output_dir]
    with (
        lock_output_dirs(
            held,
            shared=options.shares_outputs,
            when_exclusive=lambda: remove_temporary_files({*held, *written}),
        ),
        open_display(RunStats(len(jobs)), quiet=options.quiet, verbose=options.verbose) as display,
    ):
        if options.verbose:
            display.notice(f"settings: {settings!r}")
        code = run_and_report(
            jobs,
            options,
            settings,
            display,
            report,
            suffix=shard.name if shard else str(os.getpid()) if options.shared else "",
            start=_make_starter(jobs, make_task, options, settings, display, report, held),
        )
    return code or (ExitCode.USAGE if missing else ExitCode.OK)


def _print_missing(missing: Sequence[UsageError]) -> None:
    """Complain of inputs that can't be used; of a long list's, the first tell enough."""
    for error in missing[:MAX_MISSING_SHOWN]:
        print_message(str(error))
    if len(missing) > MAX_MISSING_SHOWN:
        count = f"... of {len(missing)} inputs that can't be used"
        print_message(f"{count}: the report lists them all (--report FILE)")


def _make_starter(
    jobs: Sequence[Job],
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    folders: Iterable[Location],
) -> StartRun:
    """Return what begins the work, here or on a cluster."""
    if options.cluster:
        from phi4audio_cli.cli.cluster_run import run_on_cluster

        return lambda stop: run_on_cluster(
            jobs, make_task, options, settings, display, report, stop, list(folders)
        )
    tasks = TaskFactory(settings, make_task)
    return lambda stop: run_local(
        jobs,
        tasks,
        settings,
        stop,
        model=local_session.identify_model(settings, display),
        fresh=options.fresh,
        on_notice=display.print_line,
        run_jobs=lambda left, memory, stop: local_session.task_events(
            left, tasks.default, settings, display, task_of=tasks.for_job, memory=memory, stop=stop
        ),
    )


def _check_cluster_options(options: TaskOptions) -> None:
    if options.cluster:
        from phi4audio_cli.cluster.ray_cluster import check_address

        check_address(options.cluster)
    elif options.workers:
        raise UsageError("is for clusters", "--workers", "add --cluster local, for example")
