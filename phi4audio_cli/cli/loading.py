"""The model is loaded while the first recordings are read."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from phi4audio_cli.engine import Backend
from phi4audio_cli.engine.backend import Stop, never
from phi4audio_cli.settings import MAX_CHUNK_SECONDS
from phi4audio_cli.types import Generation, Request, Unanswered


class LateBackend:
    """A backend that is opened when answers are asked for: the engine reads ahead by then.

    Args:
        opener: Opens it.
        on_open: Called when it is open.
    """

    def __init__(self, opener: Callable[[], Backend], on_open: Callable[[], None]) -> None:
        self._opener = opener
        self._on_open = on_open
        self._backend: Backend | None = None

    def generate(
        self, feed: Iterable[Request | None], stop: Stop = never
    ) -> Iterator[Generation | Unanswered]:
        """Answer requests.

        Raises:
            ModelError: No such model, or one that can't run here.
        """
        yield from self._opened().generate(feed, stop)

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk that fits; what always does is known before it is open.

        Raises:
            ModelError: No such model, or one that can't run here.
        """
        return wanted if wanted <= MAX_CHUNK_SECONDS else self._opened().longest_chunk(wanted)

    def _opened(self) -> Backend:
        if self._backend is None:
            self._backend = self._opener()
            self._on_open()
        return self._backend


@contextmanager
def without_collecting() -> Iterator[None]:
    """Don't look for garbage: imports leave little of it, and a million objects to look at.

    These stay until the process ends, so they aren't looked at later either.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
