"""The driver: hands jobs to workers, tells what comes of them, and copes with those that go."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from phi4audio_cli.cluster.calls import Lost, Pool, Reply
from phi4audio_cli.cluster.crew import Crew, Hand
from phi4audio_cli.cluster.queue import DEATHS, Queue
from phi4audio_cli.cluster.sizes import Workers
from phi4audio_cli.cluster.wire import Broken, Gift, Loaded, News, Note, Ready, Said, unpack
from phi4audio_cli.engine import Stop
from phi4audio_cli.errors import FileError, ModelError, Phi4AudioError
from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.jobs.inputs import name_of
from phi4audio_cli.jobs.lock import ClaimedError
from phi4audio_cli.types import ChunkDone, FileFailed, Job

LOOK = 0.5
"""How often the driver looks whether to stop, and whether more workers are needed, in seconds."""

BARREN = 3
"""Workers in a row that may go before they have loaded the model; then none will."""

FRUITLESS = 8
"""Workers that may go one after the other without an answer from any: the fault is everywhere."""

GATHER_SECONDS = 30.0
"""How long those that are ready wait for the others, so that what is wrong is told first."""

LEAVE_SECONDS = 10.0
"""How long a worker that has nothing to do has to leave."""


class Driver:
    """Does jobs on workers.

    Args:
        queue: The jobs.
        pool: The workers.
        workers: How many there are to be.
        stop: Ends the run.
        say: Told in a line what a user should know.
        begin: Called when the first model is loaded.
        patient: Whether a recording that somebody holds is a dead worker's, and waited for.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        queue: Queue,
        pool: Pool,
        workers: Workers,
        stop: Stop,
        *,
        say: Callable[[str], None] = lambda line: None,
        begin: Callable[[], None] = lambda: None,
        patient: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.crew = Crew(pool, workers, now)
        self._queue = queue
        self._pool = pool
        self._stop = stop
        self._say = say
        self._begin = begin
        self._patient = patient
        self._now = now
        self._model: str | None = None
        self._barren = self._fruitless = 0
        self._loaded = False
        self._notes: set[str] = set()
        self._began = now()
        self._waits_told = False

    def events(self) -> Generator[Told]:
        """Do all jobs; yield what becomes of them.

        Raises:
            Phi4AudioError: No worker can do them.
        """
        while not self._queue.finished and not self._stop():
            self.crew.fit(self._queue.waiting)
            self._tell_of_waiting()
            for worker, reply in self._pool.wait(LOOK):
                yield from self._take(worker, reply)
            self._hand_out()
        yield from self._dismiss()

    def _dismiss(self) -> Iterator[Told]:
        """Let the workers finish their batches and go."""
        stopped = self._stop()
        self.crew.dismiss()
        until = self._now() + LEAVE_SECONDS
        while self.crew.hands and (stopped or self._now() < until):
            for worker, reply in self._pool.wait(LOOK):
                yield from self._take(worker, reply)
            self._hand_out()

    def _tell_of_waiting(self) -> None:
        """Say once that the cluster has no room for all workers yet."""
        if self._waits_told or self._now() - self._began < GATHER_SECONDS:
            return
        self._waits_told = True
        if self.crew.starting:
            count = f"{self.crew.starting} of {len(self.crew.hands)} workers"
            self._say(f"{count} wait for room in the cluster (ray status shows who has it)")

    def _hand_out(self) -> None:
        for hand in self.crew.standing(self._gathered()):
            leaving = hand.leaving
            gift = Gift(last=True) if leaving else self._queue.give(hand.name, self._room(hand))
            self.crew.send(hand, gift)

    def _room(self, hand: Hand) -> int:
        # Towards the end few at a time, so that all finish together; to a full worker none, or
        # each answer of a long recording would bring it another.
        return min(hand.room, max(1, self._queue.waiting // (2 * len(self.crew.hands))))

    def _gathered(self) -> bool:
        return self._stop() or self.crew.gathered(GATHER_SECONDS)

    def _take(self, worker: str, reply: Reply) -> Iterator[Told]:
        hand = self.crew.hands.get(worker)
        if hand is None:
            return
        match reply:
            case Ready(model=model):
                self._check_model(hand, model)
                self.crew.ready(hand, reply)
            case Said():
                for sent in reply.sent:
                    yield from self._hear(hand, unpack(sent))
                if worker in self.crew.hands:
                    self.crew.said(hand, reply)
            case Lost(error=error, died=died):
                yield from self._lose(hand, error, died=died)

    def _check_model(self, hand: Hand, model: str) -> None:
        self._model = self._model or model
        if model != self._model:
            raise ModelError(
                "this worker finds another model than the others under the same name",
                hand.name,
                "give all machines the same files",
            )

    def _hear(self, hand: Hand, news: News) -> Iterator[Told]:
        match news:
            case Note(text=text):
                if text not in self._notes:  # all workers say the same
                    self._notes.add(text)
                    self._say(text)
            case Loaded():
                hand.loaded = self._now()
                if not self._loaded:
                    self._loaded = True
                    self._begin()
                self._barren = 0
            case Broken(error=error):
                yield from self._lose(hand, error, died=hand.loaded is not None)
            case _:
                yield from self._tell(hand, news)

    def _tell(self, hand: Hand, told: Told) -> Iterator[Told]:
        job = told.job
        match told:
            case FileFailed(error=ClaimedError()) if self._waits_for(job):
                if self._queue.postpone(hand.name, job):
                    return
            case Filed():
                self._fruitless = 0
                if self._queue.returned(job):
                    told = replace(told, anew=True)  # done in this run, by one that died since
                self._queue.settle(hand.name, job)
            case FileFailed():
                self._queue.settle(hand.name, job)
            case ChunkDone(generation=generation, recalled=False):
                hand.hear(generation.request.chunk)
                self._fruitless = 0
        hand.count(told)
        yield told

    def _waits_for(self, job: Job) -> bool:
        return self._patient or self._queue.returned(job)

    def _lose(self, hand: Hand, error: Exception, *, died: bool) -> Iterator[Told]:
        self.crew.lose(hand)
        if self._stop() or hand.leaving:
            return
        self._fruitless += 1
        self._barren += hand.loaded is None
        if self._is_hopeless(hand, error, died):
            raise hand.blamed(error)
        held = self._queue.held(hand.name)
        others = f"; its recordings ({held}) go to others" if held else ""
        self._say(f"{hand.name} is gone: {error}{others}")
        # Before the model is there a recording is not even looked at.
        died = died and hand.loaded is not None
        for job in self._queue.lose(hand.name, died=died):
            what = f"{DEATHS} workers in a row ended with this recording: {error}"
            remedy = "look at it with phi4audio transcribe, alone and without --cluster"
            yield FileFailed(job, FileError(what, name_of(job), remedy))

    def _is_hopeless(self, hand: Hand, error: Exception, died: bool) -> bool:
        """Return whether any further worker would go, too."""
        refused = isinstance(error, Phi4AudioError) and not died and hand.loaded is None
        if refused and not self._loaded:
            return True
        return self._barren >= BARREN or self._fruitless >= FRUITLESS
