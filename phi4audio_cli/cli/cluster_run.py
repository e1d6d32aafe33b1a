"""Runs a task command on a Ray cluster: the driver here, sessions on the workers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing

from phi4audio_cli.cli.console import format_duration
from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.local_session import identify_model, open_session
from phi4audio_cli.cli.option_groups import TaskOptions
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.ray_cluster import ray_session
from phi4audio_cli.cluster.shared_paths import SharedPathProbe, create_probe
from phi4audio_cli.cluster.work_queue import WorkQueue, long_recordings_first
from phi4audio_cli.cluster.worker import NoticeCallback, WorkerConfig
from phi4audio_cli.cluster.worker_resources import WorkerCount, WorkerResources, allocate
from phi4audio_cli.jobs.run_report import Report
from phi4audio_cli.pipeline.output_writer import RunEvent
from phi4audio_cli.pipeline.pipeline import PipelineRunner
from phi4audio_cli.settings import Settings
from phi4audio_cli.locations import Location
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

MAX_WORKERS_SHOWN = 16
"""Workers that get a line at the end; the report has all."""


def run_on_cluster(
    jobs: Sequence[Job],
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    cancel_token: CancelToken,
    folders: Sequence[Location],
) -> Generator[RunEvent]:
    """Do jobs on a cluster.

    Args:
        jobs: With their outputs.
        make_task: Builds the task when the settings are known; it is pickled.
        options: Of the command line.
        settings: Of the run.
        display: What the user sees.
        report: Gets what each worker did.
        cancel_token: Ends it.
        folders: Of the outputs; all workers must be able to write there.

    Raises:
        UsageError, ModelError, OutputError: The cluster can't do it.
    """
    where = options.cluster or "auto"
    wanted = WorkerCount.parse(options.workers) if options.workers else None
    display.status("starting Ray" if where == "local" else "joining the cluster")
    with ray_session(where, cpu_only=settings.device == "cpu"), create_probe(folders, jobs) as seen:
        from phi4audio_cli.cluster import ray_pool as on_ray

        machines = on_ray.check_versions(on_ray.cluster_nodes(), display.print_line)
        default = 1 if where == "local" else None
        workers, share = allocate(machines, wanted, settings.device, cpu_default=default)
        plan = _worker_config(make_task, options, settings, share, seen)
        display.status(f"starting {workers.minimum} worker{'s' * (workers.minimum > 1)}")
        with closing(on_ray.RayPool(plan, share)) as pool:
            driver = Driver(
                WorkQueue(long_recordings_first(jobs)),
                pool,
                workers,
                cancel_token,
                on_notice=display.print_line,
                on_first_load=lambda: _on_first_load(display, cancel_token),
                # Alone on its folders, whoever else holds a recording is a dead worker of ours.
                wait_for_locks=not options.shares_outputs,
            )
            try:
                yield from driver.events()
            finally:
                report.workers = driver.registry.stats()
    _show_worker_stats(report, display)


def _worker_config(
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    resources: WorkerResources,
    probe: SharedPathProbe,
) -> WorkerConfig:
    if resources.num_readers is not None and settings.readers == "auto":
        settings = settings.model_copy(update={"readers": resources.num_readers})
    return WorkerConfig(
        settings,
        make_task,
        _open_session,
        _identify_model,
        fresh=options.fresh,
        working_dir=_working_dir(),
        num_threads=resources.num_threads,
        probe=probe,
    )


def _working_dir() -> str:
    import os

    return os.getcwd()  # noqa: PTH109


def _on_first_load(display: Display, cancel_token: CancelToken) -> None:
    display.on_model_loaded()
    cancel_token.running = True


def _show_worker_stats(report: Report, display: Display) -> None:
    for each in report.workers[:MAX_WORKERS_SHOWN]:
        speed = f", RTFx {each['rtfx']:.1f}" if each["rtfx"] else ""
        display.notice(
            f"{each['name']} ({each['place']}): {each['done']} done, "
            f"{format_duration(each['seconds'])} of audio in {format_duration(each['elapsed'])}{speed}"
        )
    if len(report.workers) > MAX_WORKERS_SHOWN:
        display.notice(f"... of {len(report.workers)} workers: the report lists them all")


# On the workers.


class _RelayDisplay(Display):
    """Sends what a user should know to the driver."""

    def __init__(self, on_notice: NoticeCallback) -> None:
        super().__init__(RunStats(0))
        self._on_notice = on_notice

    def print_line(self, text: str) -> None:
        """Send a line."""
        self._on_notice(text)

    def notice(self, text: str) -> None:
        """Send a remark."""
        self._on_notice(text)


def _open_session(
    task: Task, settings: Settings, on_notice: NoticeCallback
) -> AbstractContextManager[PipelineRunner]:
    return open_session(task, settings, _RelayDisplay(on_notice))


def _identify_model(settings: Settings, on_notice: NoticeCallback) -> str:
    return identify_model(settings, _RelayDisplay(on_notice))
