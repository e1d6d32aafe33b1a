"""A backend that answers from a script: for tests, here and in programs built on this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from phi4audio_cli.engine.backend import Stop, never
from phi4audio_cli.types import Generation, Request


class ScriptedBackend:
    """Answers each request with what a function says, and remembers the requests.

    Args:
        answer: From a request to the text of its answer, or to a whole generation.
        window: Requests that are collected, then answered last first; None: until a flush.
        longest: Longest chunk it claims to have memory for, in seconds.
    """

    def __init__(
        self,
        answer: Callable[[Request], str | Generation],
        *,
        window: int | None = 1,
        longest: float = float("inf"),
    ) -> None:
        self.answer = answer
        self.window = window
        self.longest = longest
        self.requests: list[Request] = []

    def generate(self, feed: Iterable[Request | None], stop: Stop = never) -> Iterator[Generation]:
        """Answer the requests of one window after the other."""
        held: list[Request] = []
        for request in feed:
            if stop():
                return
            if request is not None:
                held.append(request)
            if request is None or len(held) == self.window:
                yield from self._answer(held)
                held = []
        if not stop():
            yield from self._answer(held)

    def longest_chunk(self, wanted: float) -> float:
        """Return `wanted`, or `longest` where that is less."""
        return min(wanted, self.longest)

    def _answer(self, held: list[Request]) -> Iterator[Generation]:
        self.requests += held
        for request in reversed(held):
            answer = self.answer(request)
            if isinstance(answer, str):
                answer = Generation(request, answer, tokens=(), logprobs=(), finish="stop")
            yield answer
