"""One feed of requests answered: free slots are filled, all rows write a token, again and again.

A row that is done makes room for the next request at once (continuous batching). What is too much
for the memory is tried again with fewer rows; what fails with others is tried alone.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch

from phi4audio_cli.background import PrefetchThread
from phi4audio_cli.model.answering import Answering
from phi4audio_cli.model.failures import Failure, release_memory, too_large, understand
from phi4audio_cli.model.hearing import Hearing, encoder_windows
from phi4audio_cli.model.inputs import Pending, Prepared
from phi4audio_cli.model.limit import Limit
from phi4audio_cli.model.memory import ENCODER_SECONDS
from phi4audio_cli.model.writing import Row, Writer, may_cross_rope_switch, positions_of
from phi4audio_cli.types import Generation, Request, RequestFailed

LEAST_WAITING = 16
"""So many requests may wait for a slot, or as many as there are slots: encoder and decoder take
some of them together, and of the last ones the longest are begun first."""

IDLE_SHARE = 8
"""Of so many slots one may stay free until there is more to read at once."""

PATIENCE_SECONDS = 1.0
"""How long rows under way wait for a request that could join them, once. Which rows are together
depends on the requests alone as long as these come in time."""

STRUCK_IN_A_ROW = 10
"""So many recordings failing one after the other, without an answer, are a fault of ours."""

Answered: TypeAlias = Generation | RequestFailed


def most_waiting(rows: int) -> int:
    """Return how many requests may wait beside so many rows."""
    return max(LEAST_WAITING, rows)


@dataclass(slots=True, eq=False)
class Asked:
    """A request that waits or is under way."""

    request: Request
    prompt: Prepared
    row: Row | None = None
    """While it is under way."""
    suspect: bool = False
    """Whether something failed while it was there: it is tried alone."""
    too_much: bool = False
    """Whether the memory ran out while it was there."""

    @property
    def long(self) -> bool:
        """Whether the user is told what goes on."""
        chunk = self.request.chunk
        return chunk is not None and chunk.seconds > ENCODER_SECONDS


class Service:
    """Answers one feed.

    Args:
        writer: Writes the rows.
        hearing: Encodes the chunks.
        answering: Makes results of finished rows.
        limit: How many rows at once.
        prepared: Requests with what the network takes, taken ahead by a thread.
        stop: Once it says so, no row is begun.
        tell: Told what goes on during a long pass, and an empty text when it is over.
    """

    def __init__(
        self,
        writer: Writer,
        hearing: Hearing,
        answering: Answering,
        limit: Limit,
        prepared: PrefetchThread[Pending | RequestFailed | None],
        stop: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        self.writer = writer
        self.hearing = hearing
        self.answering = answering
        self.limit = limit
        self.prepared = prepared
        self.stop = stop
        self.tell = tell
        self.waiting: deque[Asked] = deque()
        self.under_way: list[Asked] = []
        self._unprepared: deque[RequestFailed] = deque()
        self._flushed = self._ended = self._starved = False
        self._struck: set[int] = set()
        """Recordings with a request that failed alone, since the last answer."""

    def answers(self) -> Iterator[Answered]:
        """Yield every answer as soon as it is there.

        Raises:
            ModelError: The device is lost.
        """
        while True:
            yield from self._fill()
            if self.under_way:
                yield from self._write()
            elif self.stop() or (self._ended and not self.waiting):
                return

    # Requests come in and take free slots.

    def _fill(self) -> Iterator[Answered]:
        while not self.stop():
            self._listen()
            while self._unprepared:
                yield self._unprepared.popleft()
            joining = self._joining()
            if not joining:
                return
            failure = self._attempt(partial(self._begin, joining))
            if failure is None:
                for asked in joining:
                    if asked.row is not None and asked.row.done:
                        yield from self._finish(asked)
            else:
                yield from self._begin_each(joining, failure)

    def _joining(self) -> list[Asked]:
        """Take those of the waiting that have room, in their order."""
        joining: list[Asked] = []
        while self.waiting and self._has_room(self.waiting[0], joining):
            joining.append(self.waiting.popleft())
        if self._too_few(joining):
            self.waiting.extendleft(reversed(joining))
            return []
        return joining

    def _too_few(self, joining: list[Asked]) -> bool:
        """Whether it pays to wait until more rows are done: reading little is slow for its size."""
        if not self.under_way or not self.waiting:
            return False
        positions = sum(asked.prompt.prompt_length for asked in joining)
        few_free = IDLE_SHARE * len(joining) < self.writer.slots
        return few_free and 2 * positions < self.writer.read_together

    def _begin_each(self, joining: list[Asked], failure: Failure) -> Iterator[Answered]:
        """Go on after prompts couldn't be read together: some of them may be, alone."""
        if len(joining) == 1:
            yield from self._recover(joining[0], failure)
            return
        for place, asked in enumerate(joining):
            if not self._has_room(asked, []):
                self.waiting.extendleft(reversed(joining[place:]))
                return
            alone = self._attempt(partial(self._begin, [asked], joining[place:]))
            if alone is not None:
                yield from self._recover(asked, alone)
            elif asked.row is not None and asked.row.done:
                yield from self._finish(asked)

    def _listen(self) -> None:
        """Take requests in, as many as may wait."""
        if not self.under_way and not self.waiting:
            self._flushed = False
        most = most_waiting(self.limit.now)
        while len(self.waiting) < most and not (self._flushed or self._ended):
            try:
                entry = self.prepared.get(self._patience())
            except queue.Empty:
                self._starved = True
                return
            self._starved = False
            if entry is None:
                self._ended = True
                self._put_longest_first()
            elif entry[0] is None:
                self._flushed = bool(self.under_way or self.waiting)
                self._put_longest_first()
            elif isinstance(entry[0], RequestFailed):
                self._unprepared.append(entry[0])
                return
            else:
                self.waiting.append(Asked(*entry[0]))

    def _put_longest_first(self) -> None:
        """Order the last requests, so that none is written alone for long when all others are."""
        in_order = sorted(self.waiting, key=lambda asked: -asked.prompt.prompt_length)
        self.waiting = deque(in_order)

    def _patience(self) -> float | None:
        """Seconds to wait for the next request; None: however long it takes."""
        if not self.under_way and not self.waiting:
            return None
        return 0.0 if self._starved else PATIENCE_SECONDS

    def _has_room(self, asked: Asked, joining: list[Asked]) -> bool:
        """Whether a request can join those under way, and those that join with it."""
        others = [*self.under_way, *joining]
        if not others:
            return True
        together = [*others, asked]
        alone = any(self._must_be_alone(each) for each in together)
        slots = self.writer.slots if self.under_way else self._rows_for(joining)
        return not alone and len(together) <= min(self._rows_for(together), slots)

    def _rows_for(self, together: Iterable[Asked]) -> int:
        """How many rows may be under way: each counts as many encoder windows as the longest."""
        return max(1, self.limit.now // encoder_windows(each.prompt for each in together))

    def _must_be_alone(self, asked: Asked) -> bool:
        return asked.suspect or may_cross_rope_switch(self.writer.model, asked.prompt)

    def _begin(self, joining: list[Asked], beside: Sequence[Asked] = ()) -> None:
        """Read prompts into slots; all of them, or none. Those beside are heard with them."""
        alone = self._must_be_alone(joining[0])
        slots = self.writer.slots if self.under_way else 1 if alone else self._rows_for(joining)
        self.writer.make_room(slots, max(positions_of(asked.prompt) for asked in joining))
        others = [*joining, *beside]
        rows = self.writer.begin([(asked.prompt, self._hear(asked, others)) for asked in joining])
        for asked, row in zip(joining, rows, strict=True):
            asked.row = row
            self.under_way.append(asked)
            self._tell(asked, "writing")

    def _hear(self, asked: Asked, others: list[Asked]) -> torch.Tensor:
        self._tell(asked, "hearing {} of audio")
        alone = self._must_be_alone(asked)
        beside = () if alone else [each.prompt for each in (*others, *self.waiting)]
        heard = self.hearing.of(asked.prompt, beside)
        self._tell(asked, f"reading {asked.prompt.prompt_length} positions")
        return heard

    # Rows write, and end.

    def _write(self) -> Iterator[Answered]:
        failure = self._attempt(self.writer.step)
        if failure is not None:
            yield from self._recover_step(failure)
            return
        for asked in [each for each in self.under_way if each.row and each.row.done]:
            yield from self._finish(asked)

    def _finish(self, asked: Asked) -> Iterator[Answered]:
        found: list[Answered] = []
        failure = self._attempt(partial(self._complete, asked, found))
        self._leave(asked)
        if failure is not None:
            yield from self._recover(asked, failure)
            return
        self._struck.clear()
        if asked.too_much:
            self.limit.hold()
        yield from found

    def _complete(self, asked: Asked, found: list[Answered]) -> None:
        if asked.row is not None:
            found.append(self.answering.complete(asked.request, asked.row, self.writer))

    def _leave(self, asked: Asked) -> None:
        """Free the slot of a request."""
        self.under_way.remove(asked)
        if asked.row is not None:
            self.writer.release(asked.row)
        asked.row = None
        self._tell(asked, "")

    # Failures.

    def _attempt(self, act: Callable[[], object]) -> Failure | None:
        try:
            act()
            return None
        except Exception as error:
            failure = understand(error, self.writer.device)
        release_memory()  # here nothing holds the exception's frames any more
        return failure

    def _recover(self, asked: Asked, failure: Failure) -> Iterator[RequestFailed]:
        """Go on after one request failed, at its beginning or its end; it is not under way."""
        others = len(self.under_way)
        if failure.of_memory and (others or self.limit.now > 1):
            self.limit.lower(others or self.limit.now // 2)
            asked.too_much = True
            self._wait_again([asked])
        elif not failure.of_memory and not asked.suspect and (others or self.waiting):
            asked.suspect = True
            self._wait_again([asked])
        else:
            yield self._give_up(asked, failure)

    def _recover_step(self, failure: Failure) -> Iterator[RequestFailed]:
        """Go on after a step failed: with half of the rows, or with each alone."""
        rows = list(self.under_way)
        if len(rows) == 1:
            self._leave(rows[0])
            yield self._give_up(rows[0], failure)
            return
        kept = len(rows) // 2 if failure.of_memory else 0
        if failure.of_memory:
            self.limit.lower(kept)
        for asked in rows[kept:]:
            self._leave(asked)
            asked.too_much |= failure.of_memory
            asked.suspect |= not failure.of_memory
        self._wait_again(rows[kept:])

    def _wait_again(self, those: list[Asked]) -> None:
        self.waiting.extendleft(reversed(those))
        if not self.under_way:
            self.writer.drop_slots()

    def _give_up(self, asked: Asked, failure: Failure) -> RequestFailed:
        """Answer nothing to a request that failed alone.

        Raises:
            Exception: The same happened to many recordings and to nothing else in between: that is
                no recording's fault.
        """
        self._tell(asked, "")
        if failure.of_memory:
            self.limit.blame_request()
            error = too_large(asked.request, self.writer.device, self.writer.dtype)
            return RequestFailed(asked.request, error)
        self._struck.add(asked.request.job)
        if len(self._struck) >= STRUCK_IN_A_ROW:
            raise failure.error
        return RequestFailed(asked.request, failure.error)

    def _tell(self, asked: Asked, stage: str) -> None:
        """Tell the stages of a pass long enough to wonder about."""
        if asked.long and asked.request.chunk is not None:
            minutes, rest = divmod(round(asked.request.chunk.seconds), 60)
            self.tell(stage.format(f"{minutes}:{rest:02}"))
