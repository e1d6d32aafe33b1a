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
    """Says whether to stop; the engine asks it (it is a `ShouldStop`).

    Attributes:
        asked: Whether anybody wants the run to stop.
        interrupted: Whether the user does.
        running: Whether there are batches to finish; else an interrupt stops at once.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.interrupted = False
        self.running = False

    def __call__(self) -> bool:
        """Return whether to begin nothing new."""
        return self.cancelled

    def cancel(self) -> None:
        """Ask to stop after the running batch."""
        self.cancelled = True

    @contextmanager
    def handle_signals(self, on_notice: Callable[[str], None]) -> Iterator[None]:
        """Take Ctrl-C and the request to terminate, where this is the main thread.

        Args:
            on_notice: Called, from a thread of its own, when the first one came.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler runs in the middle of anything, of printing too: it may only put a note here.
        notes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_forward_notices, args=(notes, on_notice), daemon=True).start()
        before = [(each, signal.signal(each, self._handler(notes))) for each in HANDLED_SIGNALS]
        try:
            yield
        finally:
            for each, handler in before:
                signal.signal(each, handler)
            notes.put(None)

    def _handler(
        self, notes: queue.SimpleQueue[str | None]
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if self.interrupted or not self.running:
                raise KeyboardInterrupt
            self.cancelled = self.interrupted = True
            notes.put("the running batch is finished first; interrupt again to stop now")

        return handle


def _forward_notices(
    notes: queue.SimpleQueue[str | None], on_notice: Callable[[str], None]
) -> None:
    while (note := notes.get()) is not None:
        on_notice(note)
