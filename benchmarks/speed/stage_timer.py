"""Time by stage: wrapped functions add up their own seconds."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class StageTimer:
    """Adds up the seconds of stages; those of nested stages don't count for the outer one.

    Threads count separately, so overlapping stages add up to more than the wall time.

    Args:
        synchronize: Waits for the device; called before a stage ends.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self.synchronize = synchronize
        self.seconds: Counter[str] = Counter()
        self._inner = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        outer = getattr(self._inner, "spent", 0.0)
        self._inner.spent = 0.0
        began = time.perf_counter()
        try:
            yield
        finally:
            self.synchronize()
            spent = time.perf_counter() - began
            self.seconds[name] += spent - self._inner.spent
            self._inner.spent = outer + spent

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Replace a function, or every step of a generator, by its timed version."""
        original: Callable[..., Any] = getattr(owner, attribute)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                result = original(*args, **kwargs)
            return self._steps(result, name) if isinstance(result, Iterator) else result

        setattr(owner, attribute, timed)

    def _steps(self, items: Iterator[Any], name: str) -> Iterator[Any]:
        while True:
            with self.stage(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
