"""Recordings are read ahead, several at a time: a thread for each reader, one bounded store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from phi4audio_cli.audio.reading import Check, Reader
from phi4audio_cli.engine.reading import Heard, Item, StoppedError
from phi4audio_cli.types import Job

ITEMS_AHEAD = 16
"""Items that wait to be taken, for each reader; any of them may use all of the room."""

SECONDS_AHEAD = 160.0
"""Seconds of audio in them, for each reader: 10 MB, four of the longest chunks."""

IDLE_SECONDS = 0.5
"""When nothing came for so long, the taker is told."""

LINGER_SECONDS = 1.0
"""How long threads have to let go of their recordings when the run ends early."""

Read: TypeAlias = Callable[[Job, Reader, Check], Iterator[Item]]
"""Reads a recording with a reader; the check raises `StoppedError` where the run is to end."""


class ReadingAhead:
    """Reads recordings in threads; what they give is taken in one.

    A job is taken when a reader is free for it, no sooner. Of several recordings under way, the
    one that was begun first is handed on first: it is finished before others.

    Args:
        jobs: Taken one at a time, in one thread at a time; `next` may wait.
        read: How a recording is read.
        readers: As many recordings are read at the same time.
        stop: Once it says so, no job is taken any more.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        read: Read,
        readers: Sequence[Reader],
        stop: Callable[[], bool],
    ) -> None:
        self._jobs = iter(jobs)
        self._read = read
        self._stop = stop
        self._taking = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[Item]] = {}
        """Items by their recording's place in the order of jobs."""
        self._room = _Room(ITEMS_AHEAD * len(readers), SECONDS_AHEAD * len(readers))
        self._begun = self._ended = 0
        self._error: BaseException | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(reader,), daemon=True, name="reader")
            for reader in readers
        ]
        self._working = len(self._threads)

    @property
    def idle(self) -> bool:
        """Whether no recording is under way: those who give jobs keep us waiting."""
        with self._changed:
            return self._begun == self._ended

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def items(self) -> Iterator[Item | None]:
        """Yield items until all recordings are read, and None where none came for a while.

        Raises:
            BaseException: What the jobs raised, after the items before it.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._working, IDLE_SECONDS)
                if not self._waiting and not self._working:
                    break
                item = self._oldest() if self._waiting else None
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Let the threads end: nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + LINGER_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _oldest(self) -> Item:
        place = min(self._waiting)
        item = self._waiting[place].popleft()
        if not self._waiting[place]:
            del self._waiting[place]
        self._room.leave(item)
        self._changed.notify_all()
        return item

    # In the readers' threads.

    def _work(self, reader: Reader) -> None:
        try:
            while (begun := self._next()) is not None:
                place, job = begun
                for item in self._read(job, reader, self._check):
                    self._put(place, item)
                with self._changed:
                    self._ended += 1
        except StoppedError:
            pass
        except BaseException as error:  # handed to the taker, who raises it
            self._error = error
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _check(self) -> None:
        if self._closed or self._stop():
            raise StoppedError

    def _next(self) -> tuple[int, Job] | None:
        with self._taking:
            self._check()
            job = next(self._jobs, None)
            if job is None:
                return None
            with self._changed:
                self._begun += 1
                return self._begun, job

    def _put(self, place: int, item: Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room.has_for(item))
            self._check()
            self._waiting.setdefault(place, deque()).append(item)
            self._room.enter(item)
            self._changed.notify_all()


class _Room:
    """How much may wait. One item always may, however long."""

    def __init__(self, items: int, seconds: float) -> None:
        self._items = items
        self._seconds = seconds
        self._held = 0
        self._held_seconds = 0.0

    def has_for(self, item: Item) -> bool:
        if not self._held:
            return True
        seconds = self._held_seconds + _seconds(item)
        return self._held < self._items and seconds <= self._seconds

    def enter(self, item: Item) -> None:
        self._held += 1
        self._held_seconds += _seconds(item)

    def leave(self, item: Item) -> None:
        self._held -= 1
        self._held_seconds -= _seconds(item)


def _seconds(item: Item) -> float:
    return item.chunk.seconds if isinstance(item, Heard) else 0.0
