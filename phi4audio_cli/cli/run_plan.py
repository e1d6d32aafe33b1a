"""Plans a run: settings, recordings with their outputs, and the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.format_options import output_suffixes, resolve_formats
from phi4audio_cli.cli.option_groups import TaskOptions
from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.output_paths import plan_jobs
from phi4audio_cli.jobs.run_report import Report, report_path
from phi4audio_cli.jobs.shard import Shard
from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.locations import Location
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import check_location
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

MAX_MISSING_SHOWN = 10
"""Inputs that can't be used and get a line each; the report lists all."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that is known before a run begins."""

    options: TaskOptions
    settings: Settings
    make_task: Callable[[Settings], Task]
    """Builds the task from settings; it can be pickled."""
    tasks: TaskFactory
    jobs: Sequence[Job]
    missing: Sequence[UsageError]
    """Inputs that can't be used."""
    report: Report
    report_path: Location | None
    """The report's file; None: no report is written."""

    @property
    def output_dirs(self) -> Sequence[Location]:
        """Folders that get outputs, without duplicates."""
        return list(
            dict.fromkeys(path.parent for job in self.jobs for path in job.outputs.values())
        )

    @property
    def locked_dirs(self) -> Sequence[Location]:
        """Folders to lock: the one that the user named, with all below it, or each output's."""
        named = self.settings.output_dir
        return self.output_dirs if named is None else [named]


def plan_run(
    names: Sequence[str], options: TaskOptions, make_task: Callable[[Settings], Task]
) -> RunPlan:
    """Read the settings, find the recordings, and plan their outputs; print unusable inputs.

    Args:
        names: Inputs as the user wrote them.
        options: Of the command line.
        make_task: Builds the task from settings.

    Raises:
        UsageError, OutputError: Options, settings, inputs or output names that can't be used.
    """
    _check_cluster_options(options)
    shard = Shard.parse(options.shard) if options.shard else None
    settings = options.load_settings()
    for location in (settings.output_dir, options.report_file):
        check_location(location, offline=settings.offline)
    inputs, missing = find_inputs(
        names,
        recursive=options.recursive,
        offline=settings.offline,
        on_notice=print_message,
    )
    _print_missing(missing)
    tasks = TaskFactory(settings, make_task)
    formats = resolve_formats(tasks.default, settings, explicit=options.formats is not None)
    suffixes = output_suffixes(tasks.default, formats)
    jobs = plan_jobs(inputs, suffixes, settings.output_dir, settings.output_template)
    if shard and jobs:
        jobs = shard.select_jobs(jobs)
        if not jobs:
            print_message(f"--shard {options.shard}: there are fewer recordings than parts")
    report = Report(jobs, type(tasks.default).__name__.lower(), settings.model, missing)
    path = _report_path(jobs, settings, options, shard)
    return RunPlan(options, settings, make_task, tasks, jobs, missing, report, path)


def _report_path(
    jobs: Sequence[Job], settings: Settings, options: TaskOptions, shard: Shard | None
) -> Location | None:
    if not jobs:
        return options.report_file
    # The reports of jobs that share the folder have distinct names.
    suffix = shard.name if shard else str(os.getpid()) if options.shared else ""
    return report_path(jobs, settings.output_dir, options.report_file, suffix=suffix)


def _check_cluster_options(options: TaskOptions) -> None:
    if options.cluster:
        from phi4audio_cli.cluster.ray_cluster import check_address

        check_address(options.cluster)
    elif options.workers:
        raise UsageError("is for clusters", "--workers", "add --cluster local, for example")


def _print_missing(missing: Sequence[UsageError]) -> None:
    """Print the inputs that can't be used, the first ones of a long list."""
    for error in missing[:MAX_MISSING_SHOWN]:
        print_message(str(error))
    if len(missing) > MAX_MISSING_SHOWN:
        count = f"... of {len(missing)} inputs that can't be used"
        print_message(f"{count}: the report lists them all (--report FILE)")
