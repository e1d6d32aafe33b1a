"""The workers a driver has: as many as there is work for, and what each has done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phi4audio_cli.cluster.calls import Pool
from phi4audio_cli.cluster.sizes import Workers
from phi4audio_cli.cluster.wire import Gift, Ready, Said
from phi4audio_cli.errors import ModelError, Phi4AudioError
from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.types import Chunk, FileFailed

IDLE_SECONDS = 5.0
"""How long a worker may have nothing to do before its device is given back."""


@dataclass(slots=True)
class Hand:
    """A worker, as its driver knows it."""

    name: str
    place: str = ""
    """Its machine."""
    waits: bool = False
    """Whether it waits for jobs: no call to it is open."""
    room: int = 1
    """Recordings it would take."""
    idle_since: float | None = None
    """None: it has something to do."""
    leaving: bool = False
    loaded: float | None = None
    """When its model was there; None: not yet."""
    ended: float | None = None
    files: int = 0
    failed: int = 0
    audio: float = 0.0
    """Seconds it has heard."""

    def hear(self, chunk: Chunk | None) -> None:
        """Count a chunk."""
        if chunk is not None:
            self.audio += chunk.seconds / 2 if chunk.speaker else chunk.seconds

    def blamed(self, error: Exception) -> Phi4AudioError:
        """Return an error that says where it happened."""
        where = f"{self.name} on {self.place}" if self.place else self.name
        if isinstance(error, Phi4AudioError):
            place = f"{error.where} ({where})" if error.where else where
            return type(error)(error.what, place, error.remedy)
        what = f"one worker after the other ends: {type(error).__name__}: {error}"
        return ModelError(what, where, "look at Ray's logs, and at the memory of its machine")

    def count(self, told: Told) -> None:
        """Count a recording that is done or has failed."""
        self.files += isinstance(told, Filed)
        self.failed += isinstance(told, FileFailed)


class Crew:
    """Starts workers, lets them go, and remembers what they did.

    Args:
        pool: Where they run.
        workers: How many there are to be while there is work for them.
        now: A clock, in seconds.

    Attributes:
        hands: Those that are there, by their names.
    """

    def __init__(
        self, pool: Pool, workers: Workers, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.hands: dict[str, Hand] = {}
        self._all: list[Hand] = []
        self._pool = pool
        self._workers = workers
        self._now = now
        self._first_ready: float | None = None
        self._gathered = False

    def fit(self, waiting: int) -> None:
        """Start workers where recordings wait; let those go that have had nothing for a while."""
        if not waiting:
            self._let_go()
            return
        missing = min(self._workers.least, waiting) - len(self.hands)
        if missing <= 0 and not self.starting and self._none_idle:
            # One more at a time: each that can't be placed asks the cluster to grow.
            missing = int(len(self.hands) < self._workers.most)
        for _ in range(missing):
            hand = Hand(self._pool.start())
            self.hands[hand.name] = hand
            self._all.append(hand)

    def gathered(self, patience: float) -> bool:
        """Return whether work may begin: all that were started first are ready, or took too long.

        Args:
            patience: How long the first that is ready waits for the others, in seconds.
        """
        if not self._gathered and self._first_ready is not None:
            waited = self._now() - self._first_ready
            self._gathered = not self.starting or waited >= patience
        return self._gathered

    def standing(self, may_begin: bool) -> list[Hand]:
        """Return the workers that wait for jobs."""
        return [hand for hand in self.hands.values() if hand.waits and may_begin]

    def ready(self, hand: Hand, reply: Ready) -> None:
        """Note that a worker is prepared."""
        hand.place, hand.waits, hand.idle_since = reply.place, True, self._now()
        self._first_ready = self._first_ready or self._now()

    def said(self, hand: Hand, reply: Said) -> None:
        """Note how a worker gets on."""
        hand.room, hand.waits = reply.room, True
        hand.idle_since = (hand.idle_since or self._now()) if reply.idle else None
        if reply.left:
            self._remove(hand)

    def send(self, hand: Hand, gift: Gift) -> None:
        """Hand a worker jobs, or ask it for news."""
        hand.waits = False
        if gift.jobs:
            hand.idle_since = None
        self._pool.send(hand.name, gift)

    def lose(self, hand: Hand) -> None:
        """Note that a worker is gone, and see to it that it is."""
        self._remove(hand)

    def dismiss(self) -> None:
        """Let all go: those that work finish their batches."""
        for hand in list(self.hands.values()):
            if hand.loaded is not None:
                hand.leaving = True
                self._pool.stop(hand.name)
            else:
                self._remove(hand)

    def figures(self) -> list[dict[str, Any]]:
        """Return what each worker did, for the report."""
        return [_figures(hand, self._now()) for hand in self._all if hand.place]

    @property
    def starting(self) -> int:
        """How many workers are not ready yet."""
        return sum(not hand.place for hand in self.hands.values())

    @property
    def _none_idle(self) -> bool:
        return all(hand.idle_since is None for hand in self.hands.values())

    def _let_go(self) -> None:
        for hand in list(self.hands.values()):
            idle = hand.idle_since is not None and self._now() - hand.idle_since > IDLE_SECONDS
            if not hand.place or idle:
                self._remove(hand)

    def _remove(self, hand: Hand) -> None:
        hand.ended = self._now()
        del self.hands[hand.name]
        self._pool.end(hand.name)


def _figures(hand: Hand, now: float) -> dict[str, Any]:
    elapsed = (hand.ended or now) - hand.loaded if hand.loaded is not None else 0.0
    return {
        "name": hand.name,
        "place": hand.place,
        "done": hand.files,
        "failed": hand.failed,
        "seconds": round(hand.audio, 2),
        "elapsed": round(elapsed, 2),
        "rtfx": round(hand.audio / elapsed, 2) if hand.audio and elapsed else None,
    }
