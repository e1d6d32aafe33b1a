"""The parent's end of a reader subprocess: it replies in time, or it is ended and replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from types import ModuleType
from typing import Any

from phi4audio_cli.audio.reader import Reader
from phi4audio_cli.audio.reader_worker import CONVERT_REMEDY, receive_message, run_worker

START_TIMEOUT_SECONDS = 120.0
"""How long a process may take to start."""

EXIT_TIMEOUT_SECONDS = 2.0
"""How long a process is waited for that ought to end at once; a dead disk may hold it for ever."""

DECODER_CRASHED = "the decoder crashed on it"
DECODER_HANGS = "decoding it hangs"
READER_CLOSED = "decoding was ended"
RERUN_REMEDY = "run the command again"
START_FAILED = "no process could be started for decoding"
CHECK_MEMORY_REMEDY = "see whether the machine has memory left"


class ReaderDiedError(Exception):
    """The process is gone.

    Args:
        message: What became of it.
        remedy: What the user can do.
    """

    def __init__(self, message: str, remedy: str = CONVERT_REMEDY) -> None:
        self.remedy = remedy
        super().__init__(message)


class ReaderProcess:
    """Runs `worker.serve` in a new process. Whatever goes wrong ends it: another one is started.

    Args:
        reader: What reads there; it is pickled when the process is asked for the first time.
        memory_limit: What decoding may take, bytes.

    Raises:
        LostError: There can't be another process.
    """

    def __init__(self, reader: Reader, memory_limit: int) -> None:
        self._reader = reader
        # Spawned: a fork of a process with threads and a loaded model may not work.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=run_worker, args=(theirs, memory_limit), daemon=True, name="reader"
        )
        self._lock = threading.RLock()
        self._ready = False
        self._closed = False
        with theirs:
            try:
                with _sigint_blocked(), _main_module_hidden():
                    self._process.start()
            except OSError as error:
                self._connection.close()
                raise ReaderDiedError(
                    f"{START_FAILED}: {error.strerror or error}", CHECK_MEMORY_REMEDY
                ) from error
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._closed and self._process.is_alive()

    def exchange(self, message: object, timeout: float) -> Any:
        """Send a message, and return its reply.

        Args:
            message: What `worker` knows.
            timeout: How long the reply may take.

        Raises:
            LostError: The process died, or did not answer in time; it is ended.
        """
        with self._lock:
            if self._closed:
                raise ReaderDiedError(READER_CLOSED, RERUN_REMEDY)
            try:
                self._wait_for_start()
                return self._send_and_receive(message, timeout)
            except BaseException:
                # Interrupted, it may still answer this, when something else is asked.
                self.close()
                raise

    def _wait_for_start(self) -> None:
        if self._ready:
            return
        try:
            if not self._wait_readable(START_TIMEOUT_SECONDS):
                raise ReaderDiedError(
                    f"{START_FAILED} within {START_TIMEOUT_SECONDS:.0f} s", CHECK_MEMORY_REMEDY
                )
            self._connection.recv()
            self._connection.send(self._reader)
        except (EOFError, OSError):
            raise ReaderDiedError(
                f"{START_FAILED}: {self._exit_status()}", CHECK_MEMORY_REMEDY
            ) from None
        self._ready = True

    def _send_and_receive(self, message: object, timeout: float) -> Any:
        try:
            self._connection.send(message)
            return receive_message(self._connection, lambda: self._require_readable(timeout))
        except (EOFError, OSError):
            raise ReaderDiedError(f"{DECODER_CRASHED} ({self._exit_status()})") from None

    def _require_readable(self, timeout: float) -> None:
        if not self._wait_readable(timeout):
            raise ReaderDiedError(f"{DECODER_HANGS}: nothing came for {timeout:.0f} s")

    def _wait_readable(self, timeout: float) -> bool:
        """Wait for a message.

        Raises:
            EOFError: There will be none, the process is dead.
        """
        heard = wait([self._connection, self._process.sentinel], timeout)
        if heard and self._connection not in heard:
            raise EOFError
        return bool(heard)

    def _exit_status(self) -> str:
        """Say how the process ended."""
        self._process.join(EXIT_TIMEOUT_SECONDS)
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
        with self._lock:  # whoever waits for an answer learns that it is dead
            if self._closed:
                return
            self._closed = True
            self._connection.close()
            self._process.join(EXIT_TIMEOUT_SECONDS)
            with contextlib.suppress(ValueError):  # not dead yet
                self._process.close()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
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


_main_module_lock = threading.Lock()


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Let the new process not import the caller's program, of which a reader needs nothing.

    multiprocessing imports it by the file of the module `__main__`. A script that has no
    `if __name__ == "__main__"` would run a second time.
    """
    with _main_module_lock:
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program
