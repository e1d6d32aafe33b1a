"""The one flow of every task's command: settings, recordings, model, engine, outputs, exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.packing import cut_speech
from phi4audio_cli.audio.readers import Readers, reader_count
from phi4audio_cli.audio.reading import Cutter, ReaderHere
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.cli.formats import formats_of, output_names
from phi4audio_cli.cli.groups import TaskOptions
from phi4audio_cli.cli.loading import LateBackend, without_collecting
from phi4audio_cli.cli.messages import clock, complain
from phi4audio_cli.cli.progress import Display, open_display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.cli.work import Begin, on_this_machine, work, write_report
from phi4audio_cli.engine import Backend, Intake, Memory, Stop, run
from phi4audio_cli.engine.loaded import Engine, TaskOf
from phi4audio_cli.errors import ExitCode, UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.fingerprint import model_fingerprint
from phi4audio_cli.jobs.lock import hold
from phi4audio_cli.jobs.outputs import clean_leftovers, plan_jobs
from phi4audio_cli.jobs.report import Report
from phi4audio_cli.jobs.shard import Shard
from phi4audio_cli.jobs.store import check_place
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.location import Location
from phi4audio_cli.settings import Settings, load_settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Job

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
        model=identify_model(settings, display),
        fresh=options.fresh,
        say=display.line,
        do=lambda left, memory, stop: task_events(
            left, tasks.usual, settings, display, task_of=tasks.of, memory=memory, stop=stop
        ),
    )


def _check_cluster(options: TaskOptions) -> None:
    if options.cluster:
        from phi4audio_cli.cluster.connect import check_address

        check_address(options.cluster)
    elif options.workers:
        raise UsageError("is for clusters", "--workers", "add --cluster local, for example")


def task_events(
    jobs: Iterable[Job],
    task: Task,
    settings: Settings,
    display: Display,
    *,
    task_of: Callable[[Job], Task] | None = None,
    memory: Memory | None = None,
    stop: Stopper | None = None,
) -> Generator[Event]:
    """Load the model and do a task; the display says what goes on until there are events.

    Args:
        jobs: What to work on.
        task: What to do.
        settings: Of the run.
        display: What the user sees.
        task_of: What to do with a recording that has a task of its own; None: `task` for all.
        memory: What an earlier run left.
        stop: Ends the run.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    stop = stop or Stopper()

    def loaded() -> None:
        display.begin()
        stop.running = True

    with open_engine(task, settings, display, on_late_load=loaded) as engine:
        yield from engine(jobs, task_of or (lambda job: task), memory=memory, stop=stop)


@contextmanager
def open_engine(
    task: Task,
    settings: Settings,
    display: Display,
    *,
    on_late_load: Callable[[], None] | None = None,
) -> Iterator[Engine]:
    """Load the model, and give what does jobs with it.

    Args:
        task: What is to be done; it may hear so much at once that the memory sets a limit.
        settings: Of the run.
        display: What the user sees.
        on_late_load: Given, the model is loaded when the engine is at work and reads already, and
            this is called then; else at once.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    with Readers(ReaderHere(cut=_cutter(settings))) as readers:
        backend: Backend = (
            LateBackend(lambda: open_backend(settings, display), on_late_load)
            if on_late_load
            else open_backend(settings, display)
        )
        seconds = backend.longest_chunk(task.max_chunk_seconds)
        if seconds < task.max_chunk_seconds:
            wanted = clock(task.max_chunk_seconds)
            display.note(
                f"hearing {wanted} at once doesn't fit the free memory: parts of at most "
                f"{clock(seconds)} are heard instead"
            )
        intake = Intake(
            fetched,
            channels=settings.channel,
            track=settings.track,
            readers=readers.several(reader_count(settings.readers, settings.device)),
        )

        def engine(
            jobs: Iterable[Job], task_of: TaskOf, /, *, memory: Memory | None, stop: Stop
        ) -> Generator[Event]:
            yield from run(jobs, task_of, backend, chunk_seconds=seconds, intake=intake,
                           memory=memory, stop=stop)  # fmt: skip

        yield engine


def _cutter(settings: Settings) -> Cutter:
    return cut_at_quiet if not settings.vad else partial(cut_speech, detector=SileroDetector())


def identify_model(settings: Settings, display: Display) -> str:
    """Find the model, fetch it if need be, and return its fingerprint; nothing is loaded.

    Raises:
        ModelError: No such model.
    """
    return model_fingerprint(_resolve(settings, display), settings.adapter)


def open_backend(settings: Settings, display: Display) -> Backend:
    """Find the model, fetch it if need be, and load it; the display says what goes on.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    display.stage(f"loading {settings.model}")
    from phi4audio_cli.checkpoint.resolve import read_ahead

    folder = _resolve(settings, display)
    read_ahead(folder)
    # torch and transformers take seconds to load: not before the model is there.
    with without_collecting():
        from phi4audio_cli.model.local import open_local_backend

    return open_local_backend(
        folder,
        adapter=settings.adapter,
        device=settings.device,
        dtype=settings.dtype,
        attention=settings.attention,
        quantize=settings.quantize,
        batch_size=settings.batch_size,
        on_note=display.note,
        on_stage=display.stage,
    )


def _resolve(settings: Settings, display: Display) -> Path:
    from phi4audio_cli.checkpoint.resolve import resolve

    return resolve(settings.model, offline=settings.offline, on_download=display.download)
