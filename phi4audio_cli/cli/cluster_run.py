"""Runs a planned task on a Ray cluster: the driver here, a session on each worker."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.run_plan import RunPlan
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.ray_cluster import ray_session
from phi4audio_cli.cluster.shared_paths import SharedPathProbe, create_probe
from phi4audio_cli.cluster.work_queue import WorkQueue, long_recordings_first
from phi4audio_cli.cluster.worker import WorkerConfig
from phi4audio_cli.cluster.worker_resources import WorkerCount, WorkerResources, allocate
from phi4audio_cli.formatting import format_duration
from phi4audio_cli.jobs.run_report import Report
from phi4audio_cli.pipeline.output_writer import RunEvent

MAX_WORKERS_SHOWN = 16
"""Workers that get a line at the end; the report lists all."""


def run_on_cluster(
    plan: RunPlan, display: Display, cancel_token: CancelToken
) -> Generator[RunEvent]:
    """Process the recordings on a cluster.

    Args:
        plan: Of the run; its report gets the statistics of each worker.
        display: Receives status and notices.
        cancel_token: Ends the run.

    Raises:
        UsageError, ModelError, OutputError: The cluster can't run it.
    """
    options, settings, jobs = plan.options, plan.settings, plan.jobs
    address = options.cluster or "auto"
    wanted = WorkerCount.parse(options.workers) if options.workers else None
    display.on_status("starting Ray" if address == "local" else "joining the cluster")
    with (
        ray_session(address, cpu_only=settings.device == "cpu"),
        create_probe(plan.locked_dirs, jobs) as probe,
    ):
        from phi4audio_cli.cluster import ray_pool

        nodes = ray_pool.check_versions(ray_pool.cluster_nodes(), display.print_line)
        default = 1 if address == "local" else None
        workers, resources = allocate(nodes, wanted, settings.device, cpu_default=default)
        config = _worker_config(plan, resources, probe)
        display.on_status(f"starting {workers.minimum} worker{'s' * (workers.minimum > 1)}")
        with closing(ray_pool.RayPool(config, resources)) as pool:
            driver = Driver(
                WorkQueue(long_recordings_first(jobs)),
                pool,
                workers,
                cancel_token,
                on_notice=display.print_line,
                on_first_load=display.on_model_loaded,
                # With folders of its own, a run waits for the locks of its dead workers.
                wait_for_locks=not options.shares_outputs,
            )
            try:
                yield from driver.events()
            finally:
                plan.report.workers = driver.registry.stats()
    _show_worker_stats(plan.report, display)


def _worker_config(
    plan: RunPlan, resources: WorkerResources, probe: SharedPathProbe
) -> WorkerConfig:
    settings = plan.settings
    if resources.num_readers is not None and settings.readers == "auto":
        settings = settings.model_copy(update={"readers": resources.num_readers})
    return WorkerConfig(
        settings,
        plan.make_task,
        fresh=plan.options.fresh,
        working_dir=_working_dir(),
        num_threads=resources.num_threads,
        probe=probe,
    )


def _working_dir() -> str:
    import os

    return os.getcwd()  # noqa: PTH109


def _show_worker_stats(report: Report, display: Display) -> None:
    for each in report.workers[:MAX_WORKERS_SHOWN]:
        speed = f", RTFx {each['rtfx']:.1f}" if each["rtfx"] else ""
        display.on_notice(
            f"{each['name']} ({each['place']}): {each['done']} done, "
            f"{format_duration(each['seconds'])} of audio "
            f"in {format_duration(each['elapsed'])}{speed}"
        )
    if len(report.workers) > MAX_WORKERS_SHOWN:
        display.on_notice(f"... of {len(report.workers)} workers: the report lists them all")
