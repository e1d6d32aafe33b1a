"""The interface between pipeline and model, a lazy backend, and a scripted one for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from phi4audio_cli.settings import MAX_CHUNK_SECONDS
from phi4audio_cli.types import Generation, Request, RequestFailed

ShouldStop: TypeAlias = Callable[[], bool]
"""Returns whether to start nothing more; called from several threads."""


def never_stop() -> bool:
    """Return False: the run continues to its end."""
    return False


class Backend(Protocol):
    """Answers requests; batching and devices are up to the implementation."""

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation | RequestFailed]:
        """Pull requests while they fit; yield each answer when it is ready.

        Answers may come in another order than their requests. Each request gets one answer, whose
        `request` is the same object. A request that can't be answered, for example because it
        needs too much memory, comes back as `RequestFailed`, and the others continue.

        Args:
            requests: Requests, and None as a flush: no more come until those before it are
                answered, so a backend must not wait for the next item before it answers them.
            should_stop: Called before each batch. Once it returns True, no batch is started, and
                the answers end.
        """
        ...

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk that fits the memory, at most `wanted`, in seconds.

        Raises:
            ModelError: Not even a short chunk fits.
        """
        ...


class LazyBackend:
    """Loads a backend on first use, while the first recordings are read.

    Args:
        load: Returns the backend; called once.
    """

    def __init__(self, load: Callable[[], Backend]) -> None:
        self._load = load
        self._backend: Backend | None = None

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation | RequestFailed]:
        """Load the backend, and return its answers.

        Raises:
            ModelError: The model is not found, or can't run here.
        """
        return self.load().generate(requests, should_stop)

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk; the backend is loaded only if it is above 40 s.

        Raises:
            ModelError: The model is not found, or can't run here.
        """
        return wanted if wanted <= MAX_CHUNK_SECONDS else self.load().longest_chunk(wanted)

    def load(self) -> Backend:
        """Return the backend; the first call loads it.

        Raises:
            ModelError: The model is not found, or can't run here.
        """
        if self._backend is None:
            self._backend = self._load()
        return self._backend


class ScriptedBackend:
    """Answers each request by a function, and records the requests; for tests.

    Args:
        answer: From a request to the text of its answer, or to a whole generation.
        batch_size: Requests that are collected, then answered last first; None: until a flush.
        max_chunk_seconds: Longest chunk that it accepts, in seconds.
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
        """Answer the requests, one batch after the other."""
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
