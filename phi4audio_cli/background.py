"""Prefetching: a thread computes items ahead of their consumer, in a bounded buffer."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

POLL_SECONDS = 0.1

EXIT_SECONDS = 5.0
"""Time that threads have to end when the interpreter exits."""

_threads: weakref.WeakSet[PrefetchThread[Any]] = weakref.WeakSet()


class PrefetchThread(threading.Thread, Generic[Item]):
    """Pulls items into a bounded queue until they end or the thread is closed.

    Args:
        items: Pulled in order, in this thread.
        buffer_size: Number of items pulled ahead of the consumer.
    """

    def __init__(self, items: Iterable[Item], buffer_size: int) -> None:
        super().__init__(daemon=True, name="prefetch")
        self.items = items
        self.buffer: queue.Queue[tuple[Item] | None] = queue.Queue(maxsize=buffer_size)
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        _threads.add(self)

    def run(self) -> None:
        """Pull until the end."""
        try:
            for item in self.items:
                if not self._put((item,)):
                    return
        except BaseException as error:  # passed to the consumer, which raises it
            self.error = error
        self._put(None)

    def get(self, timeout: float | None = None) -> tuple[Item] | None:
        """Take the next item, in a tuple of one; None after the last item.

        Args:
            timeout: Seconds to wait for it; None for no limit.

        Raises:
            queue.Empty: No item came in time.
            BaseException: The error raised by `items`, after the items before it.
        """
        entry = self.buffer.get(block=timeout != 0, timeout=timeout)
        if entry is None and self.error is not None:
            raise self.error
        return entry

    def close(self) -> None:
        """Stop after the current item."""
        self.stopped.set()

    def _put(self, entry: tuple[Item] | None) -> bool:
        while not self.stopped.is_set():
            try:
                self.buffer.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def prefetch(items: Iterable[Item], buffer_size: int) -> Generator[Item, None, None]:
    """Yield `items` in order, while a thread computes up to `buffer_size` of them in advance.

    An error raised by `items` is raised here, after the items before it. Closing the iterator
    stops the thread after its current item.
    """
    thread = PrefetchThread(items, buffer_size)
    thread.start()
    try:
        while (entry := thread.get()) is not None:
            yield entry[0]
    finally:
        thread.close()


@atexit.register
def _join_threads() -> None:
    """End the threads before the interpreter does: inside of torch, that aborts the process."""
    threads = [thread for thread in _threads if thread.is_alive()]
    deadline = time.monotonic() + EXIT_SECONDS
    for thread in threads:
        thread.close()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
