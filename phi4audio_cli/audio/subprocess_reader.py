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
from phi4audio_cli.audio.reader_worker import CANCEL, NEXT, ReadProgress
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Chunk

HANG_TIMEOUT_SECONDS = 60.0
"""A decoder that gives nothing for so long hangs; 10 s of audio take it some 20 ms."""

CANCEL_TIMEOUT_SECONDS = 1.0
"""How long a decoder has to leave a recording that nobody wants; then it is ended."""

MEMORY_LIMIT_BYTES = 4 << 30
"""What reading may take, bytes; a good recording takes a few megabytes."""


class SubprocessReading:
    """A recording that another process reads. Made by `SubprocessReader.read`.

    Attributes:
        info: Rate of the chunks, and the length by the header.
        seconds: How much was decoded so far.
        damage: What went wrong while decoding, or None; known when the chunks end.
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
        self._next_progress = next_progress
        self._raise_if_cancelled = raise_if_cancelled

    def chunks(self) -> Iterator[Chunk]:
        """Read, once.

        Raises:
            AudioError: It was shorter than 25 ms, or its decoder crashed or hangs.
        """
        while not (delivery := self._next_progress()).ended:
            self._update(delivery)
            self._raise_if_cancelled()
            if delivery.chunk is not None:
                yield delivery.chunk
        self._update(delivery)

    def _update(self, progress: ReadProgress) -> None:
        self.seconds, self.damage = progress.seconds, progress.damage


class SubprocessReader:
    """Reads recordings in a process of its own, one after the other; a context.

    The process is started with the context, and anew after a recording that ended it. It works one
    block ahead. Only one recording may be open at a time, in one thread at a time; any thread may
    close the reader, which ends the recording that is open with an AudioError.

    Args:
        reader: What reads there; it is pickled.
        hang_timeout: How long a block may take.
        memory_limit: What reading may take, bytes; beyond it a recording fails.
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
        with contextlib.suppress(ReaderDiedError):  # the first recording tells
            self._live_process()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; nothing can be read any more."""
        self._closed = True
        if self._process is not None:
            self._process.close()

    @property
    def pid(self) -> int | None:
        """The process's id; None where there is none."""
        return self._process.pid if self._process and self._process.alive else None

    @contextlib.contextmanager
    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> Iterator[SubprocessReading]:
        """Open a recording, as `decode_file.open_audio` does.

        Raises:
            AudioError: Not a readable file, an empty one, one without audio in it, or without the
                channel or track; or its decoder crashed, hangs, or takes too much memory.
            RuntimeError: Another recording is open.
        """
        if self._reading:
            raise RuntimeError("a reader opens one recording at a time")
        with _reader_errors_as_audio_errors(request.path):
            process = self._live_process()

        def ask(message: object) -> Any:
            with _reader_errors_as_audio_errors(request.path):
                reply = process.exchange(message, self._hang_timeout)
            if isinstance(reply, AudioError):
                raise reply
            return reply

        self._reading = True
        try:
            yield SubprocessReading(ask(request), lambda: ask(NEXT), raise_if_cancelled)
        finally:
            self._reading = False
            if process.alive:
                with contextlib.suppress(ReaderDiedError):
                    process.exchange(CANCEL, CANCEL_TIMEOUT_SECONDS)

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
    """What became of the process is the error of the recording that it worked on."""
    try:
        yield
    except ReaderDiedError as error:
        raise AudioError(str(error), str(path), error.remedy) from error


ReaderCount: TypeAlias = int | Literal["auto"]

MAX_READERS = 16
"""So many keep up with the fastest GPU that is known, on cores half as fast as those measured."""


class ReaderProcesses:
    """Readers that work side by side; a context, which ends their processes.

    One process is started with the context, while the model is loaded; others when they are needed.

    Args:
        reader: What each of them does, in its process; it is pickled.
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
        """Return so many readers."""
        missing = count - len(self._readers)
        self._readers += [SubprocessReader(self._reader) for _ in range(missing)]
        return self._readers[:count]


def reader_count(requested: ReaderCount, device: str) -> int:
    """Return how many recordings to read at once.

    A network on the processor wants the cores itself, and one reader is many times faster. Beside
    a GPU the cores are free, but for one, which keeps the device busy.

    Args:
        requested: A number, or `auto`.
        device: Where the network runs: `auto`, or as torch names it.
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
    """Return how many cores this process may use; a batch system may lend it a few only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
