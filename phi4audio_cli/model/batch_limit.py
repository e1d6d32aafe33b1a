"""How many requests run and wait at once; fewer run after memory ran out."""

from __future__ import annotations

from collections.abc import Callable

MIN_QUEUE = 16
"""Fewest requests that may wait. Encoder and decoder batch some of them, and of the last ones the
longest start first."""


def max_waiting(batch_size: int) -> int:
    """Return how many requests may wait while `batch_size` may run."""
    return max(MIN_QUEUE, batch_size)


class BatchLimit:
    """The largest number of requests that run together.

    Args:
        size: Largest number wanted.
        on_reduced: Called with the wanted number and the number that fits, once the latter is
            confirmed.
    """

    def __init__(self, size: int, on_reduced: Callable[[int, int], None]) -> None:
        self.wanted = self.current = size
        self.on_reduced = on_reduced

    def reduce(self, size: int) -> None:
        """Allow at most `world_size` sequences, and at least one, from now on."""
        self.current = max(1, min(size, self.current))

    def restore(self) -> None:
        """Allow the wanted number again: one request alone was too large, not their number."""
        self.current = self.wanted

    def confirm(self) -> None:
        """Keep the reduced number: a request that ran out of memory succeeded with it."""
        if self.current < self.wanted:
            self.on_reduced(self.wanted, self.current)
            self.wanted = self.current
