"""The one seam between the engine and whatever runs the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from phi4audio_cli.types import Generation, Request


class Backend(Protocol):
    """Answers requests; how many at once, and where, is its own business."""

    def generate(self, feed: Iterable[Request]) -> Iterator[Generation]:
        """Pull requests when there is room for them; yield each answer when it is there.

        Answers may come in another order than their requests. Every request gets one answer.
        """
        ...
