"""What goes to and fro behind a URL, several at a time: no model, and nobody, waits for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from phi4audio_cli.jobs.filing import Filed, Filing, Told
from phi4audio_cli.jobs.shelf import Shelf
from phi4audio_cli.jobs.store import AT_ONCE
from phi4audio_cli.location import RemotePath
from phi4audio_cli.types import Event, FileDone, Job

WRITERS = 8
"""Recordings whose outputs are under way at the same time."""

MOST = 64
"""Recordings that may be on their way; the engine waits when there are more."""


def take_up(
    jobs: Sequence[Job], shelf: Shelf, filing: Filing
) -> Generator[tuple[Job, Filed | None]]:
    """Bring up to date what an earlier run did; several at a time where it lies behind a URL.

    Yields:
        Each recording, in order, and what there is to tell of it; None: it is still to be done.
    """

    def look(job: Job) -> Filed | None:
        finished = shelf.finished(job)
        return filing.again(job, finished) if finished else None

    if not any(map(_is_far, jobs)):
        yield from ((job, look(job)) for job in jobs)
        return
    with ThreadPoolExecutor(AT_ONCE) as readers:
        for start in range(0, len(jobs), AT_ONCE):
            some = jobs[start : start + AT_ONCE]
            yield from zip(some, readers.map(look, some), strict=True)


def file_each(events: Iterable[Event], filing: Filing) -> Generator[Told]:
    """Do what each event of the engine asks for, and yield what there is to tell.

    On this machine a result is filed before the next event is taken. Those that go behind a URL are
    filed in threads, and told when they are there; all of them are when the events end, by an error
    too.

    Args:
        events: Of the engine.
        filing: What files them.
    """
    pending: deque[Future[Told]] = deque()
    failure: Exception | None = None
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="filing") as writers:
        try:
            for event in events:
                if isinstance(event, FileDone) and _is_far(event.job):
                    pending.append(writers.submit(filing.take, event))
                else:
                    yield filing.take(event)
                while pending and (pending[0].done() or len(pending) > MOST):
                    yield pending.popleft().result()
        except Exception as error:  # the others are told before
            failure = error
        for each in pending:
            yield each.result()
    if failure is not None:
        raise failure


def _is_far(job: Job) -> bool:
    return any(isinstance(place, RemotePath) for place in job.outputs.values())
