"""Writes the results of recordings to their output files and turns pipeline events into run events.

A single process and each worker of a cluster write in the same way. Remote outputs are written
concurrently, so that network latency does not block the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli import __version__
from phi4audio_cli.errors import FileError, OutputError, Phi4AudioError
from phi4audio_cli.jobs.input_source import display_name
from phi4audio_cli.jobs.resume import FinishedRecording, ResumeStore
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import MAX_CONCURRENT_REQUESTS, encode_text, read_all, write_all
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.types import (
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Job,
    Metadata,
    Result,
    document_for_variant,
)
from phi4audio_cli.writers import render
from phi4audio_cli.writers.speaker_labels import text_with_speakers

WRITER_THREADS = 8
"""Recordings whose remote outputs are written at the same time."""

MAX_PENDING = 64
"""Recordings that may wait for their remote outputs; the pipeline pauses above that."""


def render_all(
    job: Job, result: Result, metadata: Metadata, style: CueStyle = DEFAULT_STYLE
) -> dict[Location, bytes]:
    """Return the content of each output of a job.

    Args:
        job: Names the outputs and their formats.
        result: The result to write.
        metadata: Origin of the result, for formats that state it.
        style: Style of subtitles.
    """
    contents = {}
    for name, location in job.outputs.items():
        variant, _, output_format = name.rpartition(".")
        document = document_for_variant(result, variant)
        contents[location] = encode_text(render(output_format, document, metadata, style))
    return contents


def outdated_outputs(contents: Mapping[Location, bytes]) -> dict[Location, bytes]:
    """Return the outputs whose files are missing or have another content.

    Args:
        contents: What each file should contain, from `render_all`.
    """
    existing = zip(contents.items(), read_all(contents), strict=True)
    return {location: data for (location, data), found in existing if found != data}


@dataclass(frozen=True, slots=True)
class RecordingWritten:
    """A recording is finished, and its outputs are written or could not be written."""

    job: Job
    text: str
    """Text for standard output."""
    seconds: float
    """Length of its audio."""
    warnings: tuple[str, ...]
    written: tuple[Location, ...]
    """Outputs written by this run."""
    is_new: bool
    """Whether this run transcribed it; else an earlier one did."""
    error: OutputError | None = None
    """Reason why outputs could not be written."""


RunEvent: TypeAlias = FileStarted | ChunkDone | RecordingWritten | FileFailed
"""An event of a run, reported after the outputs it stands for are written."""


class OutputWriter:
    """Stores results and writes their outputs.

    Args:
        settings: Settings of the run.
        resume_store: Stores the results.
    """

    def __init__(self, settings: Settings, resume_store: ResumeStore) -> None:
        self._settings = settings
        self._resume_store = resume_store

    def handle(self, event: Event) -> RunEvent:
        """Process an event of the pipeline, and return the event to report."""
        match event:
            case FileDone(job=job, result=result, warnings=warnings):
                # The result is stored before its outputs are written: a process killed between
                # the two has lost nothing.
                stored = self._resume_store.finish(job, result, warnings)
                return self._write(job, stored, warnings, is_new=True)
            case FileFailed(job=job, error=error):
                self._resume_store.release(job)
                return replace(event, error=with_recording_name(error, job))
            case _:
                return event

    def restore(self, job: Job, finished: FinishedRecording) -> RecordingWritten:
        """Bring the outputs of a recording that an earlier run finished up to date."""
        return self._write(job, finished.result, finished.warnings, is_new=False)

    def _write(
        self, job: Job, result: Result, damage_warnings: Sequence[str], *, is_new: bool
    ) -> RecordingWritten:
        metadata = Metadata(job.source.name, self._settings.model, __version__)
        max_uncovered = self._settings.max_uncovered / 100
        warnings = (*damage_warnings, *quality_warnings(result, max_uncovered))
        event = RecordingWritten(
            job, text_with_speakers(result), result.duration, warnings, (), is_new
        )
        contents = render_all(job, result, metadata, self._settings.cue_style)
        if not (is_new and _is_remote(job)):  # writing a new remote file is as fast as reading it
            contents = outdated_outputs(contents)
        try:
            write_all(contents)
        except OutputError as error:
            return replace(event, error=error)
        return replace(event, written=tuple(contents))


def with_recording_name(error: Exception, job: Job) -> Exception:
    """Return an error that names the recording, for the backend's errors name no file."""
    if isinstance(error, Phi4AudioError):
        return type(error)(error.what, error.where or display_name(job), error.remedy)
    what = f"failed with {type(error).__name__}: {error}"
    return FileError(what, display_name(job), "report it if the recording plays elsewhere")


def restore_finished(
    jobs: Sequence[Job], resume_store: ResumeStore, output_writer: OutputWriter
) -> Generator[tuple[Job, RecordingWritten | None]]:
    """Bring the outputs of earlier runs up to date, concurrently for remote outputs.

    Yields:
        Each recording, in order, with its event; None for an unfinished recording.
    """

    def restore(job: Job) -> RecordingWritten | None:
        finished = resume_store.load_finished(job)
        return output_writer.restore(job, finished) if finished else None

    if not any(map(_is_remote, jobs)):
        yield from ((job, restore(job)) for job in jobs)
        return
    with ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS) as threads:
        for start in range(0, len(jobs), MAX_CONCURRENT_REQUESTS):
            batch = jobs[start : start + MAX_CONCURRENT_REQUESTS]
            yield from zip(batch, threads.map(restore, batch), strict=True)


def write_concurrently(events: Iterable[Event], output_writer: OutputWriter) -> Generator[RunEvent]:
    """Process the events of the pipeline, and yield the events to report.

    Local outputs are written before the next event is taken. Remote outputs are written in threads
    and reported when they are complete; all of them are complete when the events end, even after an
    error.

    Args:
        events: Events of the pipeline.
        output_writer: Writes the outputs.
    """
    pending: deque[Future[RunEvent]] = deque()
    failure: Exception | None = None
    with ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="output-writer") as threads:
        try:
            for event in events:
                if isinstance(event, FileDone) and _is_remote(event.job):
                    pending.append(threads.submit(output_writer.handle, event))
                else:
                    yield output_writer.handle(event)
                while pending and (pending[0].done() or len(pending) > MAX_PENDING):
                    yield pending.popleft().result()
        except Exception as error:  # raised after the pending recordings are reported
            failure = error
        for each in pending:
            yield each.result()
    if failure is not None:
        raise failure


def _is_remote(job: Job) -> bool:
    return any(isinstance(each, RemotePath) for each in job.outputs.values())
