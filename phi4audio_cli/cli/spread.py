"""The same run on a cluster: workers do what this machine would, and the driver tells of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing

from phi4audio_cli.cli.groups import TaskOptions
from phi4audio_cli.cli.machine import identify_model, open_engine
from phi4audio_cli.cli.messages import clock
from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.cluster.connect import joined
from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.places import Proof, proof
from phi4audio_cli.cluster.queue import Queue, long_ones_first
from phi4audio_cli.cluster.sizes import Share, Workers, share_out
from phi4audio_cli.cluster.worker import Plan, Say
from phi4audio_cli.engine.loaded import Engine
from phi4audio_cli.jobs.filing import Told
from phi4audio_cli.jobs.report import Report
from phi4audio_cli.location import Location
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

MOST_TOLD = 16
"""Workers that get a line at the end; the report has all."""


def on_cluster(
    jobs: Sequence[Job],
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    display: Display,
    report: Report,
    stop: Stopper,
    folders: Sequence[Location],
) -> Generator[Told]:
    """Do jobs on a cluster.

    Args:
        jobs: With their outputs.
        make_task: Builds the task when the settings are known; it is pickled.
        options: Of the command line.
        settings: Of the run.
        display: What the user sees.
        report: Gets what each worker did.
        stop: Ends it.
        folders: Of the outputs; all workers must be able to write there.

    Raises:
        UsageError, ModelError, OutputError: The cluster can't do it.
    """
    where = options.cluster or "auto"
    wanted = Workers.parse(options.workers) if options.workers else None
    display.stage("starting Ray" if where == "local" else "joining the cluster")
    with joined(where, cpu_only=settings.device == "cpu"), proof(folders, jobs) as seen:
        from phi4audio_cli.cluster import pool as on_ray

        machines = on_ray.check_versions(on_ray.nodes(), display.line)
        default = 1 if where == "local" else None
        workers, share = share_out(machines, wanted, settings.device, default=default)
        plan = _plan(make_task, options, settings, share, seen)
        display.stage(f"starting {workers.least} worker{'s' * (workers.least > 1)}")
        with closing(on_ray.RayPool(plan, share)) as pool:
            driver = Driver(
                Queue(long_ones_first(jobs)),
                pool,
                workers,
                stop,
                say=display.line,
                begin=lambda: _begin(display, stop),
                # Alone on its folders, whoever else holds a recording is a dead worker of ours.
                patient=not options.beside_others,
            )
            try:
                yield from driver.events()
            finally:
                report.workers = driver.crew.figures()
    _tell(report, display)


def _plan(
    make_task: Callable[[Settings], Task],
    options: TaskOptions,
    settings: Settings,
    share: Share,
    seen: Proof,
) -> Plan:
    if share.readers is not None and settings.readers == "auto":
        settings = settings.model_copy(update={"readers": share.readers})
    return Plan(
        settings,
        make_task,
        _open_engine,
        _identify_model,
        fresh=options.fresh,
        folder=_current_folder(),
        threads=share.threads,
        proof=seen,
    )


def _current_folder() -> str:
    import os

    return os.getcwd()  # noqa: PTH109


def _begin(display: Display, stop: Stopper) -> None:
    display.begin()
    stop.running = True


def _tell(report: Report, display: Display) -> None:
    for each in report.workers[:MOST_TOLD]:
        speed = f", RTFx {each['rtfx']:.1f}" if each["rtfx"] else ""
        display.note(
            f"{each['name']} ({each['place']}): {each['done']} done, "
            f"{clock(each['seconds'])} of audio in {clock(each['elapsed'])}{speed}"
        )
    if len(report.workers) > MOST_TOLD:
        display.note(f"... of {len(report.workers)} workers: the report lists them all")


# On the workers.


class _Relay(Display):
    """Sends what a user should know to the driver."""

    def __init__(self, say: Say) -> None:
        super().__init__(Tally(0))
        self._say = say

    def line(self, text: str) -> None:
        """Send a line."""
        self._say(text)

    def note(self, text: str) -> None:
        """Send a remark."""
        self._say(text)


def _open_engine(task: Task, settings: Settings, say: Say) -> AbstractContextManager[Engine]:
    return open_engine(task, settings, _Relay(say))


def _identify_model(settings: Settings, say: Say) -> str:
    return identify_model(settings, _Relay(say))
