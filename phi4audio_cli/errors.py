"""All errors for users, with their exit codes.

Phi4AudioError                1   (a bug of phi4audio if raised itself)
├── NetworkError              1   the network's code fails on every recording
├── UsageError                2   options, settings, an input that isn't there
├── ModelError                3   model, checkpoint or device
│   └── CheckpointError       3   a checkpoint's files or tensors
├── OutputError               4   an output that can't be written
└── FileError                 10  one recording failed, the others continue
    └── AudioError            10  a recording that can't be decoded
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The exit code of the process."""

    OK = 0
    BUG = 1
    USAGE = 2
    MODEL = 3
    OUTPUT = 4
    FILES_FAILED = 10
    INTERRUPTED = 130


class Phi4AudioError(Exception):
    """An error with what went wrong, where, and what to do about it.

    Args:
        what: One sentence, no full stop needed.
        where: The file, option or tensor it concerns.
        remedy: What the user can do now.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, what: str, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.remedy})" if self.remedy else ""
        return f"{place}{self.what}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle their args, which here is the joined message.
        return type(self), (self.what, self.where, self.remedy)


class NetworkError(Phi4AudioError):
    """The network's code fails, and no recording is the cause: a bug of ours, so the run ends."""


class UsageError(Phi4AudioError):
    """Options, settings or inputs that can't be used."""

    exit_code = ExitCode.USAGE


class ModelError(Phi4AudioError):
    """A model that can't be found, loaded or run on this device."""

    exit_code = ExitCode.MODEL


class CheckpointError(ModelError):
    """A checkpoint whose files or tensors are not what they must be."""


class OutputError(Phi4AudioError):
    """An output that can't be written."""

    exit_code = ExitCode.OUTPUT


class FileError(Phi4AudioError):
    """One recording failed; the others continue."""

    exit_code = ExitCode.FILES_FAILED


class AudioError(FileError):
    """A recording that can't be decoded, or holds too little to transcribe."""
