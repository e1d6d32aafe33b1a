"""The interface between the pipeline and the model, and a scripted backend for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from phi4audio_cli.types import Generation, Request, RequestFailed

ShouldStop: TypeAlias = Callable[[], bool]
"""Says whether to begin nothing new; asked from several threads."""


def never_stop() -> bool:
    """Go on to the end."""
    return False


class Backend(Protocol):
    """Answers requests; how many at once, and where, is its own business."""

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation | RequestFailed]:
        """Pull requests when there is room for them; yield each answer when it is there.

        Answers may come in another order than their requests. Every request gets one answer, and
        the answer's `request` is that very object. What can't be answered, such as a request that
        needs more memory than there is, comes back as `RequestFailed`, and the others go on.

        Args:
            requests: Requests, and None where no more come until those before it are answered: a
                flush. A backend that collects requests answers all it holds then; if it waited
                for the next item first, it would wait for ever.
            should_stop: Asked before each batch. Once it says so, none is begun, and the answers end.
        """
        ...

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk that fits the memory, at most `wanted`, in seconds.

        Raises:
            ModelError: Not even a short one does.
        """
        ...


class ScriptedBackend:
    """Answers each request with what a function says, and remembers the requests.

    Args:
        answer: From a request to the text of its answer, or to a whole generation.
        batch_size: Requests that are collected, then answered last first; None: until a flush.
        max_chunk_seconds: Longest chunk it claims to have memory for, in seconds.
    """

    def __init__(
        self,
        answer: Callable[[Request], str | Generation],
        *,
        batch_size: int | None = 1,
        max_chunk_seconds: float = float("inf"),
    ) -> None:
        self.answer = answer
        self.batch_size = batch_size
        self.max_chunk_seconds = max_chunk_seconds
        self.requests: list[Request] = []

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation]:
        """Answer the requests of one window after the other."""
        held: list[Request] = []
        for request in requests:
            if should_stop():
                return
            if request is not None:
                held.append(request)
            if request is None or len(held) == self.batch_size:
                yield from self._answer(held)
                held = []
        if not should_stop():
            yield from self._answer(held)

    def longest_chunk(self, wanted: float) -> float:
        """Return `wanted`, or `max_chunk_seconds` where that is less."""
        return min(wanted, self.max_chunk_seconds)

    def _answer(self, batch: list[Request]) -> Iterator[Generation]:
        self.requests += batch
        for request in reversed(batch):
            answer = self.answer(request)
            if isinstance(answer, str):
                answer = Generation(request, answer, tokens=(), logprobs=(), finish="stop")
            yield answer
