"""Results on their way behind a URL while the engine goes on: no model waits for a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from phi4audio_cli.jobs.filing import Filing, Told
from phi4audio_cli.location import RemotePath
from phi4audio_cli.types import Event, FileDone

WRITERS = 8
"""Recordings whose outputs are under way at the same time."""

MOST = 64
"""Recordings that may be on their way; the engine waits when there are more."""


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
                if _goes_far(event):
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


def _goes_far(event: Event) -> bool:
    return isinstance(event, FileDone) and any(
        isinstance(place, RemotePath) for place in event.job.outputs.values()
    )
