"""How a driver speaks to its workers, wherever they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from phi4audio_cli.cluster.wire import Gift, Ready, Said


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, or of no use."""

    error: Exception
    died: bool
    """Whether its own process did; else its machine is gone, or can't be reached."""


Reply = Ready | Said | Lost
"""What comes of a call."""


class Pool(Protocol):
    """Workers, wherever they run. They are known by their names."""

    def start(self) -> str:
        """Begin to start a worker, and return its name; `Ready` comes when it is prepared."""
        ...

    def send(self, worker: str, gift: Gift) -> None:
        """Hand a worker jobs; `Said` comes when it has news."""
        ...

    def wait(self, seconds: float) -> Iterator[tuple[str, Reply]]:
        """Yield what came from workers, after some seconds at most."""
        ...

    def stop(self, worker: str) -> None:
        """Let a worker finish its batch, and begin nothing new."""
        ...

    def end(self, worker: str) -> None:
        """End a worker at once; nothing comes of it any more."""
        ...
