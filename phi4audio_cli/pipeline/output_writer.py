"""Writes the results of recordings to their output files and turns pipeline events into run events.

A single process and each worker of a cluster write in the same way. Remote outputs are written
concurrently, so that network latency does not block the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli import __version__
from phi4audio_cli.errors import FileError, OutputError, Phi4AudioError
from phi4audio_cli.jobs.input_source import display_name
from phi4audio_cli.jobs.output_paths import encode_text, write_outputs
from phi4audio_cli.jobs.resume import FinishedRecording, ResumeStore
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import MAX_CONCURRENT_REQUESTS, Location, RemotePath, read_all
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.text.cues import CueStyle
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


def outdated_outputs(
    job: Job, result: Result, metadata: Metadata, style: CueStyle, *, is_new: bool = False
) -> Job:
    """Return a job with those of its outputs only that must be written.

    An output is current when it holds what would be written now: so the looks of subtitles, names
    and versions all count, and nobody must remember what was written.

    Args:
        job: With all outputs.
        result: What they should say.
        metadata: What they say of their making.
        style: How subtitles look.
        is_new: Whether the result was made just now. What lies behind a URL is not read then: to
            put it takes no longer.
    """
    if is_new and any(isinstance(place, RemotePath) for place in job.outputs.values()):
        return job
    found = zip(job.outputs.items(), read_all(job.outputs.values()), strict=True)
    outputs = {
        name: path
        for (name, path), content in found
        if content != _expected_content(name, result, metadata, style)
    }
    return replace(job, outputs=outputs)


def _expected_content(name: str, result: Result, metadata: Metadata, style: CueStyle) -> bytes:
    variant, _, form = name.rpartition(".")
    return encode_text(render(form, document_for_variant(result, variant), metadata, style))


@dataclass(frozen=True, slots=True)
class RecordingWritten:
    """A recording is done and its outputs are there, or could not be written."""

    job: Job
    text: str
    """What is printed of it."""
    seconds: float
    """Length of its audio."""
    warnings: tuple[str, ...]
    written: tuple[Location, ...]
    """Outputs that were written now."""
    is_new: bool
    """Whether this run did it; else an earlier one had."""
    error: OutputError | None = None
    """Why outputs could not be written."""


RunEvent: TypeAlias = FileStarted | ChunkDone | RecordingWritten | FileFailed
"""What is told of a recording, when all that had to be done about it is done."""


class OutputWriter:
    """Brings results to where they belong.

    Args:
        settings: Of the run.
        resume_store: Keeps the results.
    """

    def __init__(self, settings: Settings, resume_store: ResumeStore) -> None:
        self._settings = settings
        self._resume_store = resume_store

    def handle(self, event: Event) -> RunEvent:
        """Do what an event of the engine asks for, and return what there is to tell."""
        match event:
            case FileDone(job=job, result=result, warnings=warnings):
                kept = self._resume_store.finish(job, result, warnings)
                return self._write(job, kept, warnings, is_new=True)
            case FileFailed(job=job, error=error):
                self._resume_store.release(job)
                return replace(event, error=with_recording_name(error, job))
            case _:
                return event

    def restore(self, job: Job, finished: FinishedRecording) -> RecordingWritten:
        """Take what an earlier run made of a recording: its outputs are brought up to date."""
        return self._write(job, finished.result, finished.warnings, is_new=False)

    def _write(
        self, job: Job, result: Result, damage_warnings: Sequence[str], *, is_new: bool
    ) -> RecordingWritten:
        style = self._settings.cue_style
        metadata = Metadata(job.source.name, self._settings.model, __version__)
        uncovered = self._settings.max_uncovered / 100
        warnings = (*damage_warnings, *quality_warnings(result, uncovered))
        filed = RecordingWritten(
            job, text_with_speakers(result), result.duration, warnings, (), is_new
        )
        try:
            to_write = outdated_outputs(job, result, metadata, style, is_new=is_new)
            write_outputs(to_write, result, metadata, style)
        except OutputError as error:
            return replace(filed, error=error)
        return replace(filed, written=tuple(to_write.outputs.values()))


def with_recording_name(error: Exception, job: Job) -> Exception:
    """Put an exception into the words of a failed recording, and name the recording.

    The backend knows of no files, so what it raises doesn't name any.
    """
    if isinstance(error, Phi4AudioError):
        return type(error)(error.what, error.where or display_name(job), error.remedy)
    what = f"failed with {type(error).__name__}: {error}"
    return FileError(what, display_name(job), "report it if the recording plays elsewhere")


WRITER_THREADS = 8
"""Recordings whose outputs are under way at the same time."""

MAX_PENDING = 64
"""Recordings that may be on their way; the engine waits when there are more."""


def restore_finished(
    jobs: Sequence[Job], resume_store: ResumeStore, output_writer: OutputWriter
) -> Generator[tuple[Job, RecordingWritten | None]]:
    """Bring up to date what an earlier run did; several at a time where it lies behind a URL.

    Yields:
        Each recording, in order, and what there is to tell of it; None: it is still to be done.
    """

    def look(job: Job) -> RecordingWritten | None:
        finished = resume_store.load_finished(job)
        return output_writer.restore(job, finished) if finished else None

    if not any(map(_is_remote, jobs)):
        yield from ((job, look(job)) for job in jobs)
        return
    with ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS) as readers:
        for start in range(0, len(jobs), MAX_CONCURRENT_REQUESTS):
            some = jobs[start : start + MAX_CONCURRENT_REQUESTS]
            yield from zip(some, readers.map(look, some), strict=True)


def write_concurrently(events: Iterable[Event], output_writer: OutputWriter) -> Generator[RunEvent]:
    """Do what each event of the engine asks for, and yield what there is to tell.

    On this machine a result is filed before the next event is taken. Those that go behind a URL are
    filed in threads, and told when they are there; all of them are when the events end, by an error
    too.

    Args:
        events: Of the engine.
        output_writer: What files them.
    """
    pending: deque[Future[RunEvent]] = deque()
    failure: Exception | None = None
    with ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="filing") as writers:
        try:
            for event in events:
                if isinstance(event, FileDone) and _is_remote(event.job):
                    pending.append(writers.submit(output_writer.handle, event))
                else:
                    yield output_writer.handle(event)
                while pending and (pending[0].done() or len(pending) > MAX_PENDING):
                    yield pending.popleft().result()
        except Exception as error:  # the others are told before
            failure = error
        for each in pending:
            yield each.result()
    if failure is not None:
        raise failure


def _is_remote(job: Job) -> bool:
    return any(isinstance(place, RemotePath) for place in job.outputs.values())
