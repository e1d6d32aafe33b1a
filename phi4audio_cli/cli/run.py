"""The one flow of every task's command: settings, recordings, model, engine, outputs, exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi4audio_cli import __version__
from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.packing import cut_speech
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.cli.messages import clock, complain
from phi4audio_cli.cli.progress import Display, open_display
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.cli.transcripts import OrderedOutput
from phi4audio_cli.engine import Backend, Cutter, run
from phi4audio_cli.errors import ExitCode, FileError, OutputError, Phi4AudioError, UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.outputs import plan_jobs, write_outputs
from phi4audio_cli.settings import Settings, load_settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, FileDone, FileFailed, Job, Metadata
from phi4audio_cli.writers import check_format
from phi4audio_cli.writers.registry import ALL


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was said on the command line."""

    inputs: Sequence[str]
    flags: Mapping[str, Any]
    """Settings by key; None where the user said nothing."""
    config: str | None = None
    recursive: bool = False
    quiet: bool = False
    verbose: bool = False


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
    settings = load_settings(call.flags, config=call.config)
    inputs, missing = find_inputs(call.inputs, recursive=call.recursive)
    for error in missing:
        complain(str(error))
    task = make_task(settings)
    jobs = plan_jobs(
        inputs, output_names(task, _formats(call, settings, task)), settings.output_dir
    )
    if not jobs:
        return ExitCode.USAGE
    with open_display(Tally(len(jobs)), quiet=call.quiet, verbose=call.verbose) as display:
        if call.verbose:
            display.note(f"settings: {settings!r}")
        code = _work(jobs, task, settings, display)
    return code or (ExitCode.USAGE if missing else ExitCode.OK)


def _work(jobs: Sequence[Job], task: Task, settings: Settings, display: Display) -> ExitCode:
    delivery = _Delivery(display, settings)
    try:
        for event in task_events(jobs, task, settings, display):
            delivery.take(event)
    except KeyboardInterrupt:
        counts = display.tally
        display.line(f"interrupted; {counts.done} of {counts.files} recordings are done")
        return ExitCode.INTERRUPTED
    display.summary()
    return delivery.exit_code


def task_events(
    jobs: Iterable[Job], task: Task, settings: Settings, display: Display
) -> Iterator[Event]:
    """Load the model and do a task; the display says what goes on until there are events.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    backend = open_backend(settings, display)
    seconds = backend.longest_chunk(task.max_chunk_seconds)
    if seconds < task.max_chunk_seconds:
        wanted = clock(task.max_chunk_seconds)
        display.note(
            f"hearing {wanted} at once doesn't fit the free memory: parts of at most "
            f"{clock(seconds)} are heard instead"
        )
    display.begin()
    yield from run(jobs, task, backend, chunk_seconds=seconds, cut=_cutter(settings))


def _cutter(settings: Settings) -> Cutter:
    return cut_at_quiet if not settings.vad else partial(cut_speech, detector=SileroDetector())


def _formats(call: Invocation, settings: Settings, task: Task) -> Sequence[str]:
    """Return the formats to write.

    Raises:
        UsageError: One was asked for that can't hold the task's result.
    """
    asked, fitting = settings.formats, task.formats
    if fitting is None:
        return asked
    if call.flags.get("formats") is None:
        # Settings that hold for all commands may name formats that are not for this one.
        usual = asked == Settings.model_fields["formats"].default
        return fitting if usual else [name for name in asked if name in fitting] or fitting
    if ALL in asked:
        return fitting
    for name in asked:
        if name not in fitting:
            check_format(name)
            raise UsageError(task.why_not, f"--format {name}", f"it can be {', '.join(fitting)}")
    return asked


def output_names(task: Task, formats: Sequence[str]) -> list[str]:
    """Return the ends of a task's file names: a format, after a variant where there is one."""
    return [f"{each}.{name}" if each else name for each in task.variants for name in formats]


def open_backend(settings: Settings, display: Display) -> Backend:
    """Find the model, fetch it if need be, and load it; the display says what goes on.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    display.stage(f"loading {settings.model}")
    from phi4audio_cli.checkpoint.resolve import resolve

    folder = resolve(settings.model, offline=settings.offline, on_download=display.download)
    # torch and transformers take seconds to load: not before the model is there.
    from phi4audio_cli.model.local import open_local_backend

    return open_local_backend(
        folder,
        adapter=settings.adapter,
        device=settings.device,
        dtype=settings.dtype,
        attention=settings.attention,
        batch_size=settings.batch_size,
        on_note=display.note,
        on_stage=display.stage,
    )


class _Delivery:
    """Takes the engine's events: outputs are written, transcripts printed, failures told."""

    def __init__(self, display: Display, settings: Settings) -> None:
        self.exit_code = ExitCode.OK
        self._display = display
        self._model = settings.model
        self._style = settings.cue_style
        self._printed = OrderedOutput(display.aside)

    def take(self, event: Event) -> None:
        self._display.take(event)
        if isinstance(event, FileDone):
            self._deliver(event)
        elif isinstance(event, FileFailed):
            self._display.problem(explained(event.error, event.job))
            self._fail(ExitCode.FILES_FAILED)
            self._printed.put(event.job, None)

    def _deliver(self, event: FileDone) -> None:
        job = event.job
        metadata = Metadata(job.source.name, self._model, __version__)
        try:
            write_outputs(job, event.result, metadata, self._style)
        except OutputError as error:
            # The others may have better luck, and the transcript still goes to standard output.
            self._display.problem(error)
            self._fail(ExitCode.OUTPUT)
        else:
            self._display.wrote(job, job.outputs.values())
        self._printed.put(job, event.result.text)

    def _fail(self, code: ExitCode) -> None:
        # An output that can't be written says more than a recording that can't be read.
        if self.exit_code != ExitCode.OUTPUT:
            self.exit_code = code


def explained(error: Exception, job: Job) -> Exception:
    """Put an unforeseen exception into the words of a failed recording."""
    if isinstance(error, Phi4AudioError):
        return error
    what = f"failed with {type(error).__name__}: {error}"
    return FileError(what, str(job.source), "report it if the recording plays elsewhere")
