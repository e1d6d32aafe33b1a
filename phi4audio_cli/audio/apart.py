"""Read in a process of its own: what a native decoder does to it costs one recording only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from phi4audio_cli.audio.process import AGAIN, ENDED, LostError, ReaderProcess
from phi4audio_cli.audio.reading import Check, Reader, ReaderHere, Wanted, go_on
from phi4audio_cli.audio.worker import LEAVE, NEXT, Delivery
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Chunk

HANG_SECONDS = 60.0
"""A decoder that gives nothing for so long hangs; 10 s of audio take it some 20 ms."""

LEAVE_SECONDS = 1.0
"""How long a decoder has to leave a recording that nobody wants; then it is ended."""

MEMORY = 4 << 30
"""What reading may take, bytes; a good recording takes a few megabytes."""


class ReadingApart:
    """A recording that another process reads. Made by `ReaderApart.read`.

    Attributes:
        info: Rate of the chunks, and the length by the header.
        seconds: How much was decoded so far.
        damage: What went wrong while decoding, or None; known when the chunks end.
    """

    def __init__(self, info: AudioInfo, deliver: Callable[[], Delivery], check: Check) -> None:
        self.info = info
        self.seconds = 0.0
        self.damage: str | None = None
        self._deliver = deliver
        self._check = check

    def chunks(self) -> Iterator[Chunk]:
        """Read, once.

        Raises:
            AudioError: It was shorter than 25 ms, or its decoder crashed or hangs.
        """
        while not (delivery := self._deliver()).ended:
            self._note(delivery)
            self._check()
            if delivery.chunk is not None:
                yield delivery.chunk
        self._note(delivery)

    def _note(self, delivery: Delivery) -> None:
        self.seconds, self.damage = delivery.seconds, delivery.damage


class ReaderApart:
    """Reads recordings in a process of its own, one after the other; a context.

    The process is started with the context, and anew after a recording that ended it. It works one
    block ahead. Only one recording may be open at a time, in one thread at a time; any thread may
    close the reader, which ends the recording that is open with an AudioError.

    Programs that are no module of a package must be guarded by `if __name__ == "__main__"`: the
    new process imports them.

    Args:
        reader: What reads there; it is pickled.
        hang_seconds: How long a block may take.
        memory: What reading may take, bytes; beyond it a recording fails.
    """

    def __init__(
        self,
        reader: Reader | None = None,
        *,
        hang_seconds: float = HANG_SECONDS,
        memory: int = MEMORY,
    ) -> None:
        self._reader = reader or ReaderHere()
        self._hang_seconds = hang_seconds
        self._memory = memory
        self._process: ReaderProcess | None = None
        self._opened = False
        self._ended = False

    def __enter__(self) -> ReaderApart:
        with contextlib.suppress(LostError):  # the first recording tells
            self._running()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; nothing can be read any more."""
        self._ended = True
        if self._process is not None:
            self._process.close()

    @property
    def pid(self) -> int | None:
        """The process's id; None where there is none."""
        return self._process.pid if self._process and self._process.alive else None

    @contextlib.contextmanager
    def read(self, wanted: Wanted, check: Check = go_on) -> Iterator[ReadingApart]:
        """Open a recording, as `decode.open_audio` does.

        Raises:
            AudioError: Not a readable file, an empty one, one without audio in it, or without the
                channel or track; or its decoder crashed, hangs, or takes too much memory.
            RuntimeError: Another recording is open.
        """
        if self._opened:
            raise RuntimeError("a reader opens one recording at a time")
        with _telling(wanted.path):
            process = self._running()

        def ask(message: object) -> Any:
            with _telling(wanted.path):
                reply = process.ask(message, self._hang_seconds)
            if isinstance(reply, AudioError):
                raise reply
            return reply

        self._opened = True
        try:
            yield ReadingApart(ask(wanted), lambda: ask(NEXT), check)
        finally:
            self._opened = False
            if process.alive:
                with contextlib.suppress(LostError):
                    process.ask(LEAVE, LEAVE_SECONDS)

    def _running(self) -> ReaderProcess:
        if self._ended:
            raise LostError(ENDED, AGAIN)
        if self._process is None or not self._process.alive:
            if self._process is not None:
                self._process.close()
            self._process = ReaderProcess(self._reader, self._memory)
        return self._process


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """What became of the process is the error of the recording that it worked on."""
    try:
        yield
    except LostError as error:
        raise AudioError(str(error), str(path), error.remedy) from error
