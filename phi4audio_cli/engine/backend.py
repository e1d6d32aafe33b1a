"""The one seam between the engine and whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from phi4audio_cli.types import Generation, Request, Unanswered

Stop: TypeAlias = Callable[[], bool]
"""Says whether to begin nothing new; asked from several threads."""


def never() -> bool:
    """Go on to the end."""
    return False


class Backend(Protocol):
    """Answers requests; how many at once, and where, is its own business."""

    def generate(
        self, feed: Iterable[Request | None], stop: Stop = never
    ) -> Iterator[Generation | Unanswered]:
        """Pull requests when there is room for them; yield each answer when it is there.

        Answers may come in another order than their requests. Every request gets one answer, and
        the answer's `request` is that very object. What can't be answered, such as a request that
        needs more memory than there is, comes back as `Unanswered`, and the others go on.

        Args:
            feed: Requests, and None where no more come until those before it are answered: a
                flush. A backend that collects requests answers all it holds then; if it waited
                for the next item first, it would wait for ever.
            stop: Asked before each batch. Once it says so, none is begun, and the answers end.
        """
        ...

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk that fits the memory, at most `wanted`, in seconds.

        Raises:
            ModelError: Not even a short one does.
        """
        ...
