"""One device at work: the ordinary engine, journals and outputs, over jobs from the driver.

A worker runs as a Ray actor, but knows nothing of Ray.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import chain

from phi4audio_cli.cluster.hatch import Hatch
from phi4audio_cli.cluster.places import Proof, check
from phi4audio_cli.cluster.wire import Broken, Gift, Loaded, News, Note, Ready, Said, pack
from phi4audio_cli.engine.loaded import Engine
from phi4audio_cli.errors import ModelError, Phi4AudioError
from phi4audio_cli.jobs.backlog import file_each
from phi4audio_cli.jobs.fetch import fetched
from phi4audio_cli.jobs.filing import Filing
from phi4audio_cli.jobs.shelf import Shelf
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

POLL = 1.0
"""Longest time a call waits for news, in seconds."""

Say = Callable[[str], None]
"""Told in a line what a user should know."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is to do; it can be pickled."""

    settings: Settings
    make_task: Callable[[Settings], Task]
    open_engine: Callable[[Task, Settings, Say], AbstractContextManager[Engine]]
    """Loads the model."""
    identify_model: Callable[[Settings, Say], str]
    """Finds the model, fetches it if need be, and returns its fingerprint."""
    fresh: bool = False
    """Whether to forget what earlier runs did."""
    folder: str = ""
    """The driver's current folder, where relative paths begin; empty: the worker's own."""
    threads: int | None = None
    """Threads for the network; None: as many as there are cores."""
    proof: Proof | None = None
    """What the driver left for workers to find; None: they need not look."""


class Worker:
    """Does the jobs it is given, and tells what becomes of them.

    Its engine runs in a thread. The calls are for the driver, and can be made at the same time.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tasks = Tasks(plan.settings, plan.make_task)
        self._hatch = Hatch()
        self._again: set[int] = set()

    def prepare(self) -> Ready:
        """Make ready to work; no model is loaded yet.

        Raises:
            ModelError: The model can't be found here.
            OutputError, UsageError: The driver's folders or recordings are not here.
        """
        if self._plan.folder:
            with suppress(OSError):  # not there: whoever needs it was told before
                os.chdir(self._plan.folder)
        if self._plan.threads:
            # Before torch is imported, which reads it.
            os.environ["OMP_NUM_THREADS"] = str(self._plan.threads)
        machine = socket.gethostname()
        try:
            if self._plan.proof is not None:
                check(self._plan.proof)
            model = self._plan.identify_model(self._plan.settings, self._say)
        except Phi4AudioError as error:
            raise type(error)(
                error.what, f"{error.where or ''} on {machine}", error.remedy
            ) from error
        threading.Thread(target=self._work, args=(model,), daemon=True).start()
        return Ready(model, f"{machine}, process {os.getpid()}")

    def exchange(self, gift: Gift) -> Said:
        """Take jobs, and say what is new: as soon as there is something, or after a second."""
        self._again |= gift.again
        self._hatch.give(gift.jobs, last=gift.last)
        return self._hatch.listen(POLL)

    def stop(self) -> None:
        """Finish the running batch, and begin nothing new."""
        self._hatch.stop()

    # In a thread of its own.

    def _work(self, model: str) -> None:
        try:
            with ExitStack() as opened:
                engine: Engine | None = None
                for jobs in self._hatch.rounds():
                    engine = self._round(jobs, model, engine, opened)
        except Phi4AudioError as error:
            self._tell(Broken(error))
        except Exception as error:  # of any kind, which need not bear pickling
            self._tell(Broken(ModelError(f"{type(error).__name__}: {error}")))
        finally:
            self._hatch.leave()

    def _round(
        self, jobs: Iterator[Job], model: str, engine: Engine | None, opened: ExitStack
    ) -> Engine | None:
        """Do the jobs of one round; the model is loaded when the first one needs it."""
        shelf = Shelf(
            lambda job: self._tasks.identity_of(job, model),
            fetched,
            fresh=self._plan.fresh,
            on_note=self._say,
        )
        filing = Filing(self._plan.settings, shelf)
        left = self._left(jobs, shelf, filing)
        try:
            if (first := next(left, None)) is None:
                return engine
            if engine is None:
                plan = self._plan
                made = plan.open_engine(self._tasks.usual, plan.settings, self._say)
                engine = opened.enter_context(made)
                self._tell(Loaded())
            work = engine(
                chain([first], left), self._tasks.of, memory=shelf, stop=self._hatch.stopped
            )
            with closing(work) as events, closing(file_each(events, filing)) as told:
                for news in told:
                    self._tell(news)
        finally:
            shelf.close()
        return engine

    def _left(self, jobs: Iterator[Job], shelf: Shelf, filing: Filing) -> Iterator[Job]:
        """Yield the jobs that no earlier run has done; tell of the others."""
        for job in jobs:
            if job.index in self._again:
                shelf.keep(job)
            if finished := shelf.finished(job):
                self._tell(filing.again(job, finished))
            else:
                yield job

    def _tell(self, news: News) -> None:
        self._hatch.tell(pack(news))

    def _say(self, text: str) -> None:
        self._tell(Note(text))
