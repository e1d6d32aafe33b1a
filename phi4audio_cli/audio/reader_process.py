"""The parent's side of a reader subprocess: start, requests with a time limit, termination."""

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
"""Time limit for the start of the process."""

EXIT_TIMEOUT_SECONDS = 2.0
"""Time limit for the exit of a killed process; a failing disk may block it for ever."""

DECODER_CRASHED = "the decoder crashed on it"
DECODER_HANGS = "decoding it hangs"
READER_CLOSED = "decoding was cancelled"
RERUN_REMEDY = "run the command again"
START_FAILED = "no process could be started for decoding"
CHECK_MEMORY_REMEDY = "check whether the machine has free memory"


class ReaderDiedError(Exception):
    """The reader process has died or did not reply in time.

    Args:
        message: How it ended.
        remedy: Advice to the user.
    """

    def __init__(self, message: str, remedy: str = CONVERT_REMEDY) -> None:
        self.remedy = remedy
        super().__init__(message)


class ReaderProcess:
    """Runs `reader_worker.run_worker` in a new process. Any failure ends the process.

    Args:
        reader: Reader for the process; it is pickled with the first request.
        memory_limit: Memory that decoding may take, bytes.

    Raises:
        ReaderDiedError: The process cannot be started.
    """

    def __init__(self, reader: Reader, memory_limit: int) -> None:
        self._reader = reader
        # A forked copy of a process with threads and a loaded model may deadlock.
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
        """Whether the process takes requests."""
        return not self._closed and self._process.is_alive()

    def exchange(self, message: object, timeout: float) -> Any:
        """Send a message and return its reply.

        Args:
            message: A message of the protocol in `reader_worker`.
            timeout: Time limit for the reply, seconds.

        Raises:
            ReaderDiedError: The process died or did not reply in time; it is ended.
        """
        with self._lock:
            if self._closed:
                raise ReaderDiedError(READER_CLOSED, RERUN_REMEDY)
            try:
                self._wait_for_start()
                return self._send_and_receive(message, timeout)
            except BaseException:
                # A late reply would be taken for the reply to the next message.
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
            raise ReaderDiedError(f"{DECODER_HANGS}: no progress for {timeout:.0f} s")

    def _wait_readable(self, timeout: float) -> bool:
        """Wait for a message; return whether one arrived in time.

        Raises:
            EOFError: The process is dead and sent no message.
        """
        ready = wait([self._connection, self._process.sentinel], timeout)
        if ready and self._connection not in ready:
            raise EOFError
        return bool(ready)

    def _exit_status(self) -> str:
        """Return the signal or the exit code of the process."""
        self._process.join(EXIT_TIMEOUT_SECONDS)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def close(self) -> None:
        """Kill the process. Idempotent, and safe from another thread."""
        with contextlib.suppress(ValueError):  # already closed
            self._process.kill()
        with self._lock:  # a thread in `exchange` releases it as the process is dead
            if self._closed:
                return
            self._closed = True
            self._connection.close()
            self._process.join(EXIT_TIMEOUT_SECONDS)
            with contextlib.suppress(ValueError):  # still running
                self._process.close()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, so that a process started here ignores Ctrl-C from its first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # `start` would do it, and unblock the signal
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
