"""A backend that answers from a script: for tests, here and in programs built on this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from phi4audio_cli.types import Generation, Request


class ScriptedBackend:
    """Answers each request with what a function says, and remembers the requests.

    Args:
        answer: From a request to the text of its answer, or to a whole generation.
    """

    def __init__(self, answer: Callable[[Request], str | Generation]) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def generate(self, feed: Iterable[Request]) -> Iterator[Generation]:
        """Answer one request at a time, in order."""
        for request in feed:
            self.requests.append(request)
            answer = self.answer(request)
            if isinstance(answer, str):
                answer = Generation(request, answer, tokens=(), logprobs=(), finish="stop")
            yield answer
