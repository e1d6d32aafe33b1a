"""Readers that run in subprocesses: a decoder that crashes or hangs fails one recording only.

`SubprocessReader` is one reader, `ReaderProcesses` several of them, `reader_count` their number.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from phi4audio_cli.audio.reader import (
    InProcessReader,
    RaiseIfCancelled,
    Reader,
    ReadRequest,
    ignore_cancellation,
)
from phi4audio_cli.audio.reader_process import (
    READER_CLOSED,
    RERUN_REMEDY,
    ReaderDiedError,
    ReaderProcess,
)
from phi4audio_cli.audio.reader_worker import CancelRecording, NextProgress, ReadProgress
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Chunk

HANG_TIMEOUT_SECONDS = 60.0
"""Time without progress after which a decoder hangs; decoding 10 s of audio takes some 20 ms."""

CANCEL_TIMEOUT_SECONDS = 1.0
"""Time limit for closing a cancelled recording; after it the process is ended."""

MEMORY_LIMIT_BYTES = 4 << 30
"""Memory that reading may take; an intact recording takes a few megabytes."""


class SubprocessReading:
    """A recording that a subprocess reads. Made by `SubprocessReader.read`.

    Attributes:
        info: Sample rate of the chunks, and the length by the container.
        seconds: Length of the audio decoded so far.
        damage: Damage found so far, or None; complete after the last chunk.
        audible_seconds: Length of the audio decoded so far that is not silence.
    """

    def __init__(
        self,
        info: AudioInfo,
        next_progress: Callable[[], ReadProgress],
        raise_if_cancelled: RaiseIfCancelled,
    ) -> None:
        self.info = info
        self.seconds = 0.0
        self.damage: str | None = None
        self.audible_seconds = 0.0
        self._next_progress = next_progress
        self._raise_if_cancelled = raise_if_cancelled

    def chunks(self) -> Iterator[Chunk]:
        """Read the chunks; to be called once.

        Raises:
            AudioError: The recording is shorter than 25 ms, or its decoder crashed or hangs.
        """
        while not (progress := self._next_progress()).ended:
            self._update(progress)
            self._raise_if_cancelled()
            if progress.chunk is not None:
                yield progress.chunk
        self._update(progress)

    def _update(self, progress: ReadProgress) -> None:
        self.seconds, self.damage = progress.seconds, progress.damage
        self.audible_seconds = progress.audible_seconds


class SubprocessReader:
    """Reads recordings in a subprocess, one after the other; a context manager.

    The subprocess starts with the context, and restarts after a recording that killed it. It
    computes one reply ahead. One recording may be open at a time, in one thread at a time; any
    thread may close the reader, and an open recording then fails with an AudioError.

    Args:
        reader: Reader for the subprocess; it is pickled.
        hang_timeout: Time limit for a block, seconds.
        memory_limit: Memory that reading may take, bytes; beyond it a recording fails.
    """

    def __init__(
        self,
        reader: Reader | None = None,
        *,
        hang_timeout: float = HANG_TIMEOUT_SECONDS,
        memory_limit: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self._reader = reader or InProcessReader()
        self._hang_timeout = hang_timeout
        self._memory_limit = memory_limit
        self._process: ReaderProcess | None = None
        self._reading = False
        self._closed = False

    def __enter__(self) -> SubprocessReader:
        with contextlib.suppress(ReaderDiedError):  # the first recording reports it
            self._live_process()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the subprocess; the reader cannot be used again."""
        self._closed = True
        if self._process is not None:
            self._process.close()

    @property
    def pid(self) -> int | None:
        """The subprocess's id; None without a running one."""
        return self._process.pid if self._process and self._process.alive else None

    @contextlib.contextmanager
    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> Iterator[SubprocessReading]:
        """Open a recording, as `decode.open_audio` does.

        Raises:
            AudioError: The file cannot be read, is empty, or has no audio or not the channel or
                track; or its decoder crashed, hangs, or takes too much memory.
            RuntimeError: Another recording is open.
        """
        if self._reading:
            raise RuntimeError("a reader opens one recording at a time")
        with _reader_errors_as_audio_errors(request.path):
            process = self._live_process()

        def exchange(message: object) -> Any:
            with _reader_errors_as_audio_errors(request.path):
                reply = process.exchange(message, self._hang_timeout)
            if isinstance(reply, AudioError):
                raise reply
            return reply

        self._reading = True
        try:
            info = exchange(request)
            yield SubprocessReading(info, lambda: exchange(NextProgress()), raise_if_cancelled)
        finally:
            self._reading = False
            if process.alive:
                with contextlib.suppress(ReaderDiedError):
                    process.exchange(CancelRecording(), CANCEL_TIMEOUT_SECONDS)

    def _live_process(self) -> ReaderProcess:
        if self._closed:
            raise ReaderDiedError(READER_CLOSED, RERUN_REMEDY)
        if self._process is None or not self._process.alive:
            if self._process is not None:
                self._process.close()
            self._process = ReaderProcess(self._reader, self._memory_limit)
        return self._process


@contextlib.contextmanager
def _reader_errors_as_audio_errors(path: Path) -> Iterator[None]:
    """Report a dead process as an error of the recording that it read."""
    try:
        yield
    except ReaderDiedError as error:
        raise AudioError(str(error), str(path), error.remedy) from error


ReaderCount: TypeAlias = int | Literal["auto"]

MAX_READERS = 16
"""Most readers by default: they keep up with the fastest GPU on cores half as fast as those
measured."""


class ReaderProcesses:
    """Several subprocess readers; a context manager, which ends their processes.

    The first process starts with the context, while the model loads; the others at first use.

    Args:
        reader: Reader for each subprocess; it is pickled.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._readers = [SubprocessReader(reader)]

    def __enter__(self) -> ReaderProcesses:
        self._readers[0].__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._readers:
            each.close()

    def get(self, count: int) -> Sequence[SubprocessReader]:
        """Return `count` readers."""
        missing = count - len(self._readers)
        self._readers += [SubprocessReader(self._reader) for _ in range(missing)]
        return self._readers[:count]


def reader_count(requested: ReaderCount, device: str) -> int:
    """Return the number of recordings to read at once.

    On the CPU the network needs the cores, and one reader is many times faster than it. With a GPU
    all cores but one, which feeds the device, are free for readers.

    Args:
        requested: A number, or `auto`.
        device: Device of the network: `auto`, or its name in torch.
    """
    if requested != "auto":
        return requested
    return max(1, min(MAX_READERS, _cores() - 1)) if _is_cuda(device) else 1


def _is_cuda(device: str) -> bool:
    if device != "auto":
        return device.startswith("cuda")
    import torch

    return torch.cuda.is_available()


def _cores() -> int:
    """Return the number of cores this process may use, which a batch system may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
