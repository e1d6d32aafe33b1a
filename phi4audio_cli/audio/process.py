"""A process that reads, as the others see it: it answers, or it is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

from phi4audio_cli.audio.reading import Reader
from phi4audio_cli.audio.wire import receive
from phi4audio_cli.audio.worker import REMEDY, serve

START_SECONDS = 120.0
"""How long a process may take to start."""

END_SECONDS = 2.0
"""How long a process is waited for that ought to end at once; a dead disk may hold it for ever."""

CRASHED = "the decoder crashed on it"
HANGS = "decoding it hangs"
ENDED = "decoding was ended"
AGAIN = "run the command again"
NOT_STARTED = "no process could be started for decoding"
NO_ROOM = "see whether the machine has memory left"


class LostError(Exception):
    """The process is gone.

    Args:
        what: What became of it.
        remedy: What the user can do.
    """

    def __init__(self, what: str, remedy: str = REMEDY) -> None:
        self.remedy = remedy
        super().__init__(what)


class ReaderProcess:
    """Runs `worker.serve` in a new process. Whatever goes wrong ends it: another one is started.

    Args:
        reader: What reads there; it is pickled when the process is asked for the first time.
        memory: What decoding may take, bytes.

    Raises:
        LostError: There can't be another process.
    """

    def __init__(self, reader: Reader, memory: int) -> None:
        self._reader = reader
        # Spawned: a fork of a process with threads and a loaded model may not work.
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, memory), daemon=True, name="reader"
        )
        self._in_use = threading.RLock()
        self._ready = False
        self._closed = False
        with theirs:
            try:
                with _deaf_to_interrupts():
                    self._process.start()
            except OSError as error:
                self._ours.close()
                raise LostError(f"{NOT_STARTED}: {error.strerror or error}", NO_ROOM) from error
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._closed and self._process.is_alive()

    def ask(self, message: object, seconds: float) -> Any:
        """Send a message, and return its reply.

        Args:
            message: What `worker` knows.
            seconds: How long the reply may take.

        Raises:
            LostError: The process died, or did not answer in time; it is ended.
        """
        with self._in_use:
            if self._closed:
                raise LostError(ENDED, AGAIN)
            try:
                self._wait_for_start()
                return self._exchange(message, seconds)
            except BaseException:
                # Interrupted, it may still answer this, when something else is asked.
                self.close()
                raise

    def _wait_for_start(self) -> None:
        if self._ready:
            return
        try:
            if not self._hears(START_SECONDS):
                raise LostError(f"{NOT_STARTED} within {START_SECONDS:.0f} s", NO_ROOM)
            self._ours.recv()
            self._ours.send(self._reader)
        except (EOFError, OSError):
            raise LostError(f"{NOT_STARTED}: {self._cause()}", NO_ROOM) from None
        self._ready = True

    def _exchange(self, message: object, seconds: float) -> Any:
        try:
            self._ours.send(message)
            return receive(self._ours, lambda: self._wait(seconds))
        except (EOFError, OSError):
            raise LostError(f"{CRASHED} ({self._cause()})") from None

    def _wait(self, seconds: float) -> None:
        if not self._hears(seconds):
            raise LostError(f"{HANGS}: nothing came for {seconds:.0f} s")

    def _hears(self, seconds: float) -> bool:
        """Wait for a message.

        Raises:
            EOFError: There will be none, the process is dead.
        """
        heard = wait([self._ours, self._process.sentinel], seconds)
        if heard and self._ours not in heard:
            raise EOFError
        return bool(heard)

    def _cause(self) -> str:
        """Say how the process ended."""
        self._process.join(END_SECONDS)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def close(self) -> None:
        """End the process now. Another thread may do it, and twice is no mistake."""
        with contextlib.suppress(ValueError):  # closed already
            self._process.kill()
        with self._in_use:  # whoever waits for an answer learns that it is dead
            if self._closed:
                return
            self._closed = True
            self._ours.close()
            self._process.join(END_SECONDS)
            with contextlib.suppress(ValueError):  # not dead yet
                self._process.close()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process that is started here gets no Ctrl-C, not even before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else `start` does, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
