"""This machine at work: the model, what reads recordings, and the engine, for as long as needed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from phi4audio_cli.audio.chunking import cut_at_quiet
from phi4audio_cli.audio.packing import cut_speech
from phi4audio_cli.audio.readers import Readers, reader_count
from phi4audio_cli.audio.reading import Cutter, ReaderHere
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.cli.loading import LateBackend, without_collecting
from phi4audio_cli.cli.messages import clock
from phi4audio_cli.cli.progress import Display
from phi4audio_cli.cli.stopping import Stopper
from phi4audio_cli.engine import Backend, Intake, Memory, Stop, run
from phi4audio_cli.engine.loaded import Engine, TaskOf
from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.fingerprint import model_fingerprint
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Event, Job


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
