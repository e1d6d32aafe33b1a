"""Model, readers and pipeline of this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.audio.reader import Chunker, InProcessReader
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.subprocess_reader import ReaderProcesses, reader_count
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.cli.console import format_duration
from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.fingerprint import model_fingerprint
from phi4audio_cli.pipeline import AnswerStore, Backend, ShouldStop, SourceOptions, run_pipeline
from phi4audio_cli.pipeline.lazy_backend import LazyBackend, gc_paused
from phi4audio_cli.pipeline.pipeline import PipelineRunner, TaskForJob
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
    memory: AnswerStore | None = None,
    stop: CancelToken | None = None,
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
    stop = stop or CancelToken()

    def loaded() -> None:
        display.on_model_loaded()
        stop.running = True

    with open_session(task, settings, display, on_model_loaded=loaded) as engine:
        yield from engine(jobs, task_of or (lambda job: task), memory=memory, stop=stop)


@contextmanager
def open_session(
    task: Task,
    settings: Settings,
    display: Display,
    *,
    on_model_loaded: Callable[[], None] | None = None,
) -> Iterator[PipelineRunner]:
    """Load the model, and give what does jobs with it.

    Args:
        task: What is to be done; it may hear so much at once that the memory sets a limit.
        settings: Of the run.
        display: What the user sees.
        on_model_loaded: Given, the model is loaded when the engine is at work and reads already, and
            this is called then; else at once.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    with ReaderProcesses(InProcessReader(chunker=_chunker(settings))) as readers:
        backend: Backend = (
            LazyBackend(lambda: open_backend(settings, display), on_model_loaded)
            if on_model_loaded
            else open_backend(settings, display)
        )
        seconds = backend.longest_chunk(task.max_chunk_seconds)
        if seconds < task.max_chunk_seconds:
            wanted = format_duration(task.max_chunk_seconds)
            display.notice(
                f"hearing {wanted} at once doesn't fit the free memory: parts of at most "
                f"{format_duration(seconds)} are heard instead"
            )
        intake = SourceOptions(
            open_local_copy,
            channels=settings.channel,
            track=settings.track,
            readers=readers.get(reader_count(settings.readers, settings.device)),
        )

        def engine(
            jobs: Iterable[Job],
            task_of: TaskForJob,
            /,
            *,
            memory: AnswerStore | None,
            stop: ShouldStop,
        ) -> Generator[Event]:
            yield from run_pipeline(jobs, task_of, backend, chunk_seconds=seconds, source_options=intake,
                           answer_store=memory, should_stop=stop)  # fmt: skip

        yield engine


def _chunker(settings: Settings) -> Chunker:
    return (
        chunk_at_silence if not settings.vad else partial(chunk_speech, detector=SileroDetector())
    )


def identify_model(settings: Settings, display: Display) -> str:
    """Find the model, fetch it if need be, and return its fingerprint; nothing is loaded.

    Raises:
        ModelError: No such model.
    """
    return model_fingerprint(_resolve_model(settings, display), settings.adapter)


def open_backend(settings: Settings, display: Display) -> Backend:
    """Find the model, fetch it if need be, and load it; the display says what goes on.

    Raises:
        ModelError: No such model, or one that can't run here.
    """
    display.status(f"loading {settings.model}")
    from phi4audio_cli.checkpoint.hub import prefetch_weights

    folder = _resolve_model(settings, display)
    prefetch_weights(folder)
    # torch and transformers take seconds to load: not before the model is there.
    with gc_paused():
        from phi4audio_cli.model.torch_backend import open_torch_backend

    return open_torch_backend(
        folder,
        adapter=settings.adapter,
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
        batch_size=settings.batch_size,
        on_notice=display.notice,
        on_status=display.status,
    )


def _resolve_model(settings: Settings, display: Display) -> Path:
    from phi4audio_cli.checkpoint.hub import resolve_model

    return resolve_model(settings.model, offline=settings.offline, on_download=display.on_download)
