"""Work ahead in a thread, so that the next item is ready when it is asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")

POLL_SECONDS = 0.1


class Ahead(threading.Thread, Generic[Item]):
    """Pulls items into a bounded queue until they end or nobody wants them any more.

    Args:
        items: Taken in order, in this thread.
        ahead: How many are taken in advance.
    """

    def __init__(self, items: Iterable[Item], ahead: int) -> None:
        super().__init__(daemon=True, name="prefetch")
        self.items = items
        self.ready: queue.Queue[tuple[Item] | None] = queue.Queue(maxsize=ahead)
        self.unwanted = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Pull until the end."""
        try:
            for item in self.items:
                if not self._put((item,)):
                    return
        except BaseException as error:  # handed to the consumer, who raises it
            self.error = error
        self._put(None)

    def take(self, patience: float | None = None) -> tuple[Item] | None:
        """Take the next item, in a tuple of its own; None: there are no more.

        Args:
            patience: Seconds to wait for it; None: however long it takes.

        Raises:
            queue.Empty: It did not come in time.
            BaseException: What `items` raised, after the items before it.
        """
        entry = self.ready.get(block=patience != 0, timeout=patience)
        if entry is None and self.error is not None:
            raise self.error
        return entry

    def close(self) -> None:
        """Stop after the item that is being worked on."""
        self.unwanted.set()

    def _put(self, entry: tuple[Item] | None) -> bool:
        while not self.unwanted.is_set():
            try:
                self.ready.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def prefetch(items: Iterable[Item], ahead: int) -> Generator[Item, None, None]:
    """Yield `items` in order, up to `ahead` of them taken in advance by a thread.

    An error raised by `items` is raised here, after the items before it. Closing the iterator
    stops the thread after the item it is working on.
    """
    thread = Ahead(items, ahead)
    thread.start()
    try:
        while (entry := thread.take()) is not None:
            yield entry[0]
    finally:
        thread.close()
