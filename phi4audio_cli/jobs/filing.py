"""What becomes of results: kept in the journal, written in every format, told in a few words.

This machine and each worker of a cluster file the same way; only what is told goes further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from phi4audio_cli import __version__
from phi4audio_cli.errors import FileError, OutputError, Phi4AudioError
from phi4audio_cli.jobs.current import stale
from phi4audio_cli.jobs.inputs import name_of
from phi4audio_cli.jobs.outputs import write_outputs
from phi4audio_cli.jobs.shelf import Finished, Shelf
from phi4audio_cli.location import Location
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.types import (
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Job,
    Metadata,
    Result,
)
from phi4audio_cli.writers.speakers import printed


@dataclass(frozen=True, slots=True)
class Filed:
    """A recording is done and its outputs are there, or could not be written."""

    job: Job
    text: str
    """What is printed of it."""
    seconds: float
    """Length of its audio."""
    warnings: tuple[str, ...]
    written: tuple[Location, ...]
    """Outputs that were written now."""
    anew: bool
    """Whether this run did it; else an earlier one had."""
    error: OutputError | None = None
    """Why outputs could not be written."""


Told: TypeAlias = FileStarted | ChunkDone | Filed | FileFailed
"""What is told of a recording, when all that had to be done about it is done."""


class Filing:
    """Brings results to where they belong.

    Args:
        settings: Of the run.
        shelf: Keeps the results.
    """

    def __init__(self, settings: Settings, shelf: Shelf) -> None:
        self._settings = settings
        self._shelf = shelf

    def take(self, event: Event) -> Told:
        """Do what an event of the engine asks for, and return what there is to tell."""
        match event:
            case FileDone(job=job, result=result, warnings=warnings):
                kept = self._shelf.finish(job, result, warnings)
                return self._file(job, kept, warnings, anew=True)
            case FileFailed(job=job, error=error):
                self._shelf.leave(job)
                return replace(event, error=explained(error, job))
            case _:
                return event

    def again(self, job: Job, finished: Finished) -> Filed:
        """Take what an earlier run made of a recording: its outputs are brought up to date."""
        return self._file(job, finished.result, finished.warnings, anew=False)

    def _file(self, job: Job, result: Result, damage: Sequence[str], *, anew: bool) -> Filed:
        style = self._settings.cue_style
        metadata = Metadata(job.source.name, self._settings.model, __version__)
        uncovered = self._settings.max_uncovered / 100
        warnings = (*damage, *quality_warnings(result, uncovered))
        filed = Filed(job, printed(result), result.duration, warnings, (), anew)
        try:
            to_write = stale(job, result, metadata, style, anew=anew)
            write_outputs(to_write, result, metadata, style)
        except OutputError as error:
            return replace(filed, error=error)
        return replace(filed, written=tuple(to_write.outputs.values()))


def explained(error: Exception, job: Job) -> Exception:
    """Put an exception into the words of a failed recording, and name the recording.

    The backend knows of no files, so what it raises doesn't name any.
    """
    if isinstance(error, Phi4AudioError):
        return type(error)(error.what, error.where or name_of(job), error.remedy)
    what = f"failed with {type(error).__name__}: {error}"
    return FileError(what, name_of(job), "report it if the recording plays elsewhere")
