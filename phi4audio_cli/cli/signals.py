"""Signals: the first Ctrl-C finishes the running batch, the second stops at once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CancelToken:
    """Whether to cancel the run; it is a `ShouldStop`.

    Attributes:
        cancelled: Whether the run stops after the running batch.
        interrupted: Whether the user interrupted it.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.interrupted = False

    def __call__(self) -> bool:
        """Return whether to start nothing more."""
        return self.cancelled

    def cancel(self) -> None:
        """Stop after the running batch."""
        self.cancelled = True

    @contextmanager
    def handle_signals(
        self, on_notice: Callable[[str], None], batch_running: Callable[[], bool]
    ) -> Iterator[None]:
        """Handle SIGINT and SIGTERM, if this is the main thread.

        Args:
            on_notice: Called with a notice about the first signal, in a thread of its own.
            batch_running: Returns whether there may be a batch to finish; otherwise the first
                signal ends the run at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler may interrupt anything, printing too: it only puts the notice into a queue.
        notices: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_forward_notices, args=(notices, on_notice), daemon=True).start()
        handler = self._handler(notices, batch_running)
        before = [(each, signal.signal(each, handler)) for each in HANDLED_SIGNALS]
        try:
            yield
        finally:
            for each, previous in before:
                signal.signal(each, previous)
            notices.put(None)

    def _handler(
        self, notices: queue.SimpleQueue[str | None], batch_running: Callable[[], bool]
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if self.interrupted or not batch_running():
                raise KeyboardInterrupt
            self.cancelled = self.interrupted = True
            notices.put("the running batch is finished first; interrupt again to stop now")

        return handle


def _forward_notices(
    notices: queue.SimpleQueue[str | None], on_notice: Callable[[str], None]
) -> None:
    while (notice := notices.get()) is not None:
        on_notice(notice)
