"""`Session`: the model, the readers and the pipeline of one process. It is the public Python API.

A session prints nothing, handles no signals and writes no file. It loads the model on the first
run, while reader processes decode the first recordings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.audio.reader import Chunker, InProcessReader, Reader
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.subprocess_reader import ReaderProcesses, reader_count
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.backend_loader import Listener, find_model, load_backend
from phi4audio_cli.errors import UsageError
from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.fingerprint import model_fingerprint
from phi4audio_cli.jobs.task_builders import (
    ask_task,
    summarize_task,
    transcribe_task,
    translate_task,
)
from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.languages import find_audio_language
from phi4audio_cli.pipeline.answer_store import AnswerStore
from phi4audio_cli.pipeline.backend import Backend, LazyBackend, ShouldStop, never_stop
from phi4audio_cli.pipeline.output_writer import with_recording_name
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions, TaskForJob
from phi4audio_cli.session_sources import Source, make_jobs
from phi4audio_cli.settings import Settings
from phi4audio_cli.settings_loader import load_settings
from phi4audio_cli.tasks.long_form import MAX_PART_MINUTES
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import (
    Answer,
    Event,
    FileDone,
    FileFailed,
    Job,
    Result,
    Summary,
    Transcript,
    Translations,
)

if TYPE_CHECKING:
    from phi4audio_cli.tasks.summarize_task import SummaryStyle

TaskName: TypeAlias = Literal["transcribe", "translate", "summarize", "ask"]

_TASK_BUILDERS: dict[str, Callable[..., Task]] = {
    "transcribe": transcribe_task,
    "translate": translate_task,
    "summarize": summarize_task,
    "ask": ask_task,
}


class Session:
    """A model with its readers, ready for any number of recordings, one after the other.

    Two threads may use one session: the run of the second waits until that of the first ends.

    Args:
        model: A folder, a hub id with optional `@revision`, or `demo`; None: the default model.
        settings: All settings at once, in place of `model` and `options`.
        backend: Answers the requests in place of the model, which is then never loaded.
        readers: Decode recordings in place of subprocesses; the caller closes them.
        listener: Receives status and notices; None: they are dropped.
        options: Any field of `Settings` by name, such as `device="cpu"` or `batch_size=8`.
            Neither the environment nor a configuration file is read.

    Raises:
        UsageError: An unknown setting, or a value that isn't allowed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        backend: Backend | None = None,
        readers: Sequence[Reader] = (),
        listener: Listener | None = None,
        **options: Any,
    ) -> None:
        self.settings = _make_settings(model, settings, options)
        self._listener = listener or Listener()
        self._folder: Path | None = None
        self._given_backend = backend
        self._backend = LazyBackend(self._load_backend)
        self._array_reader = InProcessReader(chunker=_make_chunker(self.settings))
        self._readers = readers
        self._reader_processes: ReaderProcesses | None = None
        self._lock = threading.Lock()
        self._running_thread: int | None = None
        self._closed = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the reader processes and release the model. A run in another thread ends early."""
        self._closed = True
        if self._reader_processes is not None:
            self._reader_processes.__exit__()
        self._backend = LazyBackend(self._load_backend)  # the loaded one is freed

    def load(self) -> None:
        """Load the model now rather than on the first run.

        Raises:
            ModelError: The model is not found, or can't run here.
            UsageError: The session is closed.
        """
        with self._exclusive():
            self._backend.load()

    def fingerprint(self) -> str:
        """Return a hash that identifies the model's files; downloads it if needed, loads nothing.

        Raises:
            ModelError: The model is not found.
        """
        if self._given_backend is not None:
            return self.settings.model
        self._folder = self._folder or find_model(self.settings, self._listener)
        return model_fingerprint(self._folder, self.settings.adapter)

    def transcribe(
        self, source: Source, *, sample_rate: int | None = None, language: str | None = None
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            source: A path, a URL, or an array: float32 in [-1, 1] or int16, shape (length,) or
                (length, channels).
            sample_rate: Of an array, Hz.
            language: Spoken language by English name or code; None: the session's setting.

        Raises:
            UsageError: An array or language that can't be used.
            FileError: The recording can't be decoded or processed.
            ModelError: The model is not found, or can't run here.
        """
        result = self._run_one(source, "transcribe", sample_rate, language=language)
        return cast("Transcript", result)

    def translate(
        self,
        source: Source,
        to: str | Sequence[str],
        *,
        sample_rate: int | None = None,
        language: str | None = None,
        with_transcript: bool = False,
        bilingual: bool = False,
    ) -> Translations:
        """Translate the speech of one recording.

        Args:
            source: As for `transcribe`.
            to: Language or languages to translate into, by English name or code.
            sample_rate: Of an array, Hz.
            language: Spoken language; None: the session's setting.
            with_transcript: Whether segments get the transcript, too.
            bilingual: Whether subtitles written from the result show the transcript, too.

        Raises:
            UsageError, FileError, ModelError: As for `transcribe`.
        """
        result = self._run_one(
            source,
            "translate",
            sample_rate,
            to=to,
            language=language,
            with_transcript=with_transcript,
            bilingual=bilingual,
        )
        return cast("Translations", result)

    def summarize(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        style: SummaryStyle = "paragraph",
        prompt: str | None = None,
        to: str | None = None,
        max_minutes: float = MAX_PART_MINUTES,
    ) -> Summary:
        """Summarize one recording.

        Args:
            source: As for `transcribe`.
            sample_rate: Of an array, Hz.
            style: `paragraph`, `bullets`, `minutes` (points with times) or `headline`.
            prompt: Instruction in place of the style's.
            to: Language of the summary, by English name or code; None: the model chooses.
            max_minutes: Longest part that the model gets at once, at most 30.

        Raises:
            UsageError, FileError, ModelError: As for `transcribe`.
        """
        result = self._run_one(
            source,
            "summarize",
            sample_rate,
            style=style,
            prompt=prompt,
            to=to,
            max_minutes=max_minutes,
        )
        return cast("Summary", result)

    def ask(
        self,
        source: Source,
        question: str | None = None,
        *,
        sample_rate: int | None = None,
        system: str = "",
        max_minutes: float = MAX_PART_MINUTES,
    ) -> Answer:
        """Answer a question about one recording.

        Args:
            source: As for `transcribe`.
            question: None: the question that is spoken in the recording.
            sample_rate: Of an array, Hz.
            system: System prompt.
            max_minutes: Longest part that the model gets at once, at most 30.

        Raises:
            UsageError, FileError, ModelError: As for `transcribe`.
        """
        result = self._run_one(
            source, "ask", sample_rate, question=question, system=system, max_minutes=max_minutes
        )
        return cast("Answer", result)

    def run(
        self,
        sources: Source | Iterable[Source],
        task: TaskName | Task | TaskFactory = "transcribe",
        *,
        sample_rate: int | None = None,
        answer_store: AnswerStore | None = None,
        should_stop: ShouldStop = never_stop,
        **options: Any,
    ) -> Generator[Event]:
        """Run a task on recordings; chunks of several recordings share batches.

        Args:
            sources: Recordings, taken one at a time, when a reader is free. `event.job.index` of
                an event is the place of its recording among them, unless they are `Job`s.
            task: A name, whose options are those of the method of that name, or a task.
            sample_rate: Of all bare arrays, Hz.
            answer_store: Answers of an earlier run, to resume it; None: nothing is stored.
            should_stop: Called often, from several threads; once it returns True, no chunk is
                started, and the events end with the running batch.
            options: Of the task, such as `language="German"` or `to="French"`.

        Yields:
            `FileStarted`, `ChunkDone` for each answer of the model, and `FileDone` or `FileFailed`
            once for each recording, in the order in which they are known.

        Raises:
            UsageError: A source or option that can't be used, a closed session, or another run of
                this session that the same thread has not finished.
            ModelError: The model is not found, or can't run here.
        """
        tasks = self._make_tasks(task, options)
        default = tasks.default if isinstance(tasks, TaskFactory) else tasks
        for_job = tasks.for_job if isinstance(tasks, TaskFactory) else lambda job: default
        jobs = make_jobs(sources, sample_rate, offline=self.settings.offline)
        return self._run(jobs, default, for_job, answer_store, should_stop)

    def _run(
        self,
        jobs: Iterable[Job],
        default: Task,
        task_for_job: TaskForJob,
        answer_store: AnswerStore | None,
        should_stop: ShouldStop,
    ) -> Generator[Event]:
        with self._exclusive():
            source_options = SourceOptions(
                self._open_readers(),
                self._array_reader,
                open_local_copy,
                self.settings.channel,
                self.settings.track,
            )
            events = run_pipeline(
                jobs,
                task_for_job,
                self._backend,
                chunk_seconds=self._max_chunk_seconds(default),
                source_options=source_options,
                answer_store=answer_store,
                should_stop=lambda: self._closed or should_stop(),
            )
            with closing(events):
                for event in events:
                    yield _with_recording_name(event) if isinstance(event, FileFailed) else event

    def _run_one(
        self, source: Source, task: TaskName, sample_rate: int | None, **options: Any
    ) -> Result:
        with closing(self.run([source], task, sample_rate=sample_rate, **options)) as events:
            for event in events:
                if isinstance(event, FileDone):
                    return event.result
                if isinstance(event, FileFailed):
                    raise event.error
        raise _closed_error()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Wait for the runs of other threads.

        Raises:
            UsageError: This thread has an unfinished run, or the session is closed.
        """
        if self._running_thread == threading.get_ident():
            raise UsageError(
                "this thread has an unfinished run of the session",
                "Session",
                "iterate to its end or close() it first, or use a second session",
            )
        with self._lock:
            if self._closed:
                raise _closed_error()
            self._running_thread = threading.get_ident()
            try:
                yield
            finally:
                self._running_thread = None

    def _make_tasks(
        self, task: TaskName | Task | TaskFactory, options: dict[str, Any]
    ) -> Task | TaskFactory:
        if isinstance(task, Task | TaskFactory):
            if options:
                raise UsageError(f"unknown options {', '.join(options)}", "run", "leave them out")
            return task
        if task not in _TASK_BUILDERS:
            raise UsageError("unknown task", repr(task), f"give {', '.join(_TASK_BUILDERS)}")
        settings = self.settings
        if (language := options.pop("language", None)) is not None:
            name = find_audio_language(language, option="language").name
            settings = settings.model_copy(update={"language": name})
        try:
            return TaskFactory(settings, partial(_TASK_BUILDERS[task], **options))
        except TypeError as error:
            raise UsageError(f"wrong options: {error}", task, "see docs/python-api.md") from error

    def _max_chunk_seconds(self, task: Task) -> float:
        seconds = self._backend.longest_chunk(task.max_chunk_seconds)
        if seconds < task.max_chunk_seconds:
            wanted = format_timestamp(task.max_chunk_seconds)
            self._listener.on_notice(
                f"{wanted} of audio at once don't fit the free memory: the recordings are "
                f"processed in parts of at most {format_timestamp(seconds)}"
            )
        return seconds

    def _open_readers(self) -> Sequence[Reader]:
        if self._readers:
            return self._readers
        if self._reader_processes is None:
            self._reader_processes = ReaderProcesses(self._array_reader).__enter__()
        return self._reader_processes.get(reader_count(self.settings.readers, self.settings.device))

    def _load_backend(self) -> Backend:
        backend = self._given_backend or load_backend(self.settings, self._listener, self._folder)
        self._listener.on_model_loaded()
        return backend


def _make_settings(
    model: str | os.PathLike[str] | None, settings: Settings | None, options: dict[str, Any]
) -> Settings:
    if settings is None:
        values = {"model": None if model is None else os.fspath(model), **options}
        return load_settings(values, environ={}, flag_location="{key}")
    if model is not None or options:
        raise UsageError(
            "settings can't be combined with single settings",
            "Session",
            "use settings.model_copy(update={...})",
        )
    return settings


def _make_chunker(settings: Settings) -> Chunker:
    if not settings.vad:
        return chunk_at_silence
    return partial(chunk_speech, detector=SileroDetector())


def _with_recording_name(event: FileFailed) -> FileFailed:
    error = with_recording_name(event.error, event.job)
    if error is not event.error:
        error.__cause__ = event.error
    return replace(event, error=error)


def _closed_error() -> UsageError:
    return UsageError("the session is closed", "Session", "open another one")
