"""A backend that loads its model on first use, while the first recordings are read."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from phi4audio_cli.pipeline import Backend
from phi4audio_cli.pipeline.backend import ShouldStop, never_stop
from phi4audio_cli.settings import MAX_CHUNK_SECONDS
from phi4audio_cli.types import Generation, Request, RequestFailed


class LazyBackend:
    """A backend that is opened when answers are asked for: the engine reads ahead by then.

    Args:
        opener: Opens it.
        on_open: Called when it is open.
    """

    def __init__(self, opener: Callable[[], Backend], on_open: Callable[[], None]) -> None:
        self._open = opener
        self._on_open = on_open
        self._backend: Backend | None = None

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation | RequestFailed]:
        """Answer requests.

        Raises:
            ModelError: No such model, or one that can't run here.
        """
        yield from self._get().generate(requests, should_stop)

    def longest_chunk(self, wanted: float) -> float:
        """Return the longest chunk that fits; what always does is known before it is open.

        Raises:
            ModelError: No such model, or one that can't run here.
        """
        return wanted if wanted <= MAX_CHUNK_SECONDS else self._get().longest_chunk(wanted)

    def _get(self) -> Backend:
        if self._backend is None:
            self._backend = self._open()
            self._on_open()
        return self._backend


@contextmanager
def gc_paused() -> Iterator[None]:
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
