"""The flow of every task command: plan, lock the output folders, run, report, exit code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.live_display import open_display
from phi4audio_cli.cli.local_run import run_local
from phi4audio_cli.cli.option_groups import TaskOptions
from phi4audio_cli.cli.run_plan import RunPlan, plan_run
from phi4audio_cli.cli.run_reporter import ExitPolicy, RunReporter
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.errors import ExitCode
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import error_reason, remove_temporary_files
from phi4audio_cli.tasks.task import Task


def run_task(
    inputs: Sequence[str], options: TaskOptions, make_task: Callable[[Settings], Task]
) -> ExitCode:
    """Run a task on the recordings of a command line.

    Args:
        inputs: Recordings, folders, patterns, lists or URLs, as the user wrote them.
        options: Of the command line.
        make_task: Builds the task from settings; it can be pickled.

    Returns:
        The process's exit code, when every recording is done or has failed.

    Raises:
        Phi4AudioError: The run as a whole fails: settings, output names, model or device.
    """
    plan = plan_run(inputs, options, make_task)
    code = _run_jobs(plan) if plan.jobs else _report_no_jobs(plan)
    return code or (ExitCode.USAGE if plan.missing else ExitCode.OK)


def _report_no_jobs(plan: RunPlan) -> ExitCode:
    return ExitCode.OK if write_report(plan, print_message) else ExitCode.OUTPUT


def _run_jobs(plan: RunPlan) -> ExitCode:
    options = plan.options
    with (
        lock_output_dirs(
            plan.locked_dirs,
            shared=options.shares_outputs,
            when_exclusive=lambda: remove_temporary_files({*plan.locked_dirs, *plan.output_dirs}),
        ),
        open_display(
            RunStats(len(plan.jobs)), quiet=options.quiet, verbose=options.verbose
        ) as display,
    ):
        if options.verbose:
            display.on_notice(f"settings: {plan.settings!r}")
        cancel_token = CancelToken()
        events = _open_run(plan, display, cancel_token)
        return report_run(events, plan, display, cancel_token)


def _open_run(plan: RunPlan, display: Display, cancel_token: CancelToken) -> Generator[RunEvent]:
    """Return the events of the run; it begins with the first `next`."""
    if plan.options.cluster:
        from phi4audio_cli.cli.cluster_run import run_on_cluster

        return run_on_cluster(plan, display, cancel_token)
    return run_local(plan, display, cancel_token)


def report_run(
    events: Generator[RunEvent], plan: RunPlan, display: Display, cancel_token: CancelToken
) -> ExitCode:
    """Report each event to the user, and write the report file even if the run fails.

    Args:
        events: Of the run.
        plan: Of the run.
        display: Shows progress and problems.
        cancel_token: Ends the run.

    Raises:
        Phi4AudioError: The run as a whole fails: the model can't be loaded, its device is lost.
    """
    policy = ExitPolicy(fail_fast=plan.options.fail_fast, strict=plan.options.strict)
    reporter = RunReporter(display, plan.report, policy, cancel_token)
    try:
        with (
            cancel_token.handle_signals(
                display.print_line, batch_running=lambda: display.stats.clock_started
            ),
            closing(events),
        ):
            for event in events:
                reporter.handle(event)
    except KeyboardInterrupt:
        cancel_token.interrupted = True
    finally:
        report_written = write_report(plan, display.print_line)
    _show_end(plan, display, cancel_token)
    if cancel_token.interrupted:
        return ExitCode.INTERRUPTED
    return reporter.exit_code if report_written else ExitCode.OUTPUT


def write_report(plan: RunPlan, on_notice: Callable[[str], None]) -> bool:
    """Write the report file, if there is to be one.

    Returns:
        False if it can't be written; a notice says why.
    """
    path = plan.report_path
    try:
        if path is not None:
            plan.report.write(path)
    except OSError as error:
        on_notice(f"{path}: the report can't be written: {error_reason(error)}")
        return False
    return True


def _show_end(plan: RunPlan, display: Display, cancel_token: CancelToken) -> None:
    if problems := plan.report.problems():
        display.show_problems([(each.source, each.status, each.message) for each in problems])
    if not cancel_token.interrupted:
        display.show_summary()
        return
    stats = display.stats
    display.print_line(
        f"interrupted; {stats.done + stats.skipped} of {stats.files} recordings are done; "
        "the same command goes on from here"
    )
