"""Reads several recordings ahead, one thread per reader, into buffers with a common limit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from phi4audio_cli.audio.reader import RaiseIfCancelled, Reader
from phi4audio_cli.pipeline.recording_reader import ChunkRead, ReadEvent, RunCancelledError
from phi4audio_cli.types import Job

BUFFERED_ITEMS_PER_READER = 16
"""Buffered items per reader; one recording may use the whole budget."""

BUFFERED_SECONDS_PER_READER = 160.0
"""Buffered audio per reader: 10 MB, four of the longest chunks."""

ITEM_TIMEOUT_SECONDS = 0.5
"""After so long without an item, `items` yields None."""

JOIN_TIMEOUT_SECONDS = 1.0
"""Time that threads have to close their recordings when the run ends early."""

ReadRecording: TypeAlias = Callable[[Job, Reader, RaiseIfCancelled], Iterator[ReadEvent]]
"""Reads a recording with a reader; the check raises `RunCancelledError` when the run ends."""


class ReaderPool:
    """Reads recordings in one thread per reader, and yields their items in the caller's thread.

    A job is taken only when a reader is free. Items of the recording that started first come first,
    so that it is finished before the others.

    Args:
        jobs: Taken one at a time, by one thread at a time; `next` may wait.
        read: Reads one recording.
        readers: As many recordings are read at the same time.
        should_stop: Once it returns True, no further job is taken.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        read: ReadRecording,
        readers: Sequence[Reader],
        should_stop: Callable[[], bool],
    ) -> None:
        self._jobs = iter(jobs)
        self._read = read
        self._should_stop = should_stop
        self._jobs_lock = threading.Lock()
        self._condition = threading.Condition()
        self._buffers: dict[int, deque[ReadEvent]] = {}
        """Items by the number of their recording, in the order of the jobs."""
        self._budget = _BufferBudget(
            BUFFERED_ITEMS_PER_READER * len(readers), BUFFERED_SECONDS_PER_READER * len(readers)
        )
        self._started = self._finished = 0
        self._error: BaseException | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run_reader, args=(reader,), daemon=True, name="reader")
            for reader in readers
        ]
        self._running_readers = len(self._threads)

    @property
    def idle(self) -> bool:
        """Whether no recording is in progress: the pool waits for jobs."""
        with self._condition:
            return self._started == self._finished

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def items(self) -> Iterator[ReadEvent | None]:
        """Yield items until all recordings are read, and None after a time without any.

        Raises:
            BaseException: Raised by the iterator of jobs, after the items before it.
        """
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: self._buffers or not self._running_readers, ITEM_TIMEOUT_SECONDS
                )
                if not self._buffers and not self._running_readers:
                    break
                item = self._pop_oldest() if self._buffers else None
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the threads."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        deadline = time.monotonic() + JOIN_TIMEOUT_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _pop_oldest(self) -> ReadEvent:
        number = min(self._buffers)
        item = self._buffers[number].popleft()
        if not self._buffers[number]:
            del self._buffers[number]
        self._budget.remove(item)
        self._condition.notify_all()
        return item

    # In the readers' threads.

    def _run_reader(self, reader: Reader) -> None:
        try:
            while (numbered_job := self._next_job()) is not None:
                number, job = numbered_job
                for item in self._read(job, reader, self._raise_if_cancelled):
                    self._put(number, item)
                with self._condition:
                    self._finished += 1
        except RunCancelledError:
            pass
        except BaseException as error:  # raised by `items`
            self._error = error
        finally:
            with self._condition:
                self._running_readers -= 1
                self._condition.notify_all()

    def _raise_if_cancelled(self) -> None:
        if self._closed or self._should_stop():
            raise RunCancelledError

    def _next_job(self) -> tuple[int, Job] | None:
        with self._jobs_lock:
            self._raise_if_cancelled()
            job = next(self._jobs, None)
            if job is None:
                return None
            with self._condition:
                self._started += 1
                return self._started, job

    def _put(self, number: int, item: ReadEvent) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._budget.fits(item))
            self._raise_if_cancelled()
            self._buffers.setdefault(number, deque()).append(item)
            self._budget.add(item)
            self._condition.notify_all()


class _BufferBudget:
    """Limits the buffered items and seconds; one item always fits, however long."""

    def __init__(self, max_items: int, max_seconds: float) -> None:
        self._max_items = max_items
        self._max_seconds = max_seconds
        self._item_count = 0
        self._buffered_seconds = 0.0

    def fits(self, item: ReadEvent) -> bool:
        if not self._item_count:
            return True
        seconds = self._buffered_seconds + _audio_seconds(item)
        return self._item_count < self._max_items and seconds <= self._max_seconds

    def add(self, item: ReadEvent) -> None:
        self._item_count += 1
        self._buffered_seconds += _audio_seconds(item)

    def remove(self, item: ReadEvent) -> None:
        self._item_count -= 1
        self._buffered_seconds -= _audio_seconds(item)


def _audio_seconds(item: ReadEvent) -> float:
    return item.chunk.seconds if isinstance(item, ChunkRead) else 0.0
