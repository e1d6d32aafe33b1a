"""How many rows are answered at once, after the memory has had its say."""

from __future__ import annotations

from collections.abc import Callable


class Limit:
    """Fewer rows after the memory ran out; all of them again when a single request is to blame.

    Args:
        rows: At most.
        on_lower: Told the number wanted and the number that fits, once that is known.
    """

    def __init__(self, rows: int, on_lower: Callable[[int, int], None]) -> None:
        self.wanted = self.now = rows
        self.on_lower = on_lower

    def lower(self, rows: int) -> None:
        """Try with at most so many."""
        self.now = max(1, min(rows, self.now))

    def blame_request(self) -> None:
        """Note that one row alone was too much: it was no fault of the number."""
        self.now = self.wanted

    def hold(self) -> None:
        """Note that what was too much at once was answered with fewer."""
        if self.now < self.wanted:
            self.on_lower(self.wanted, self.now)
            self.wanted = self.now
