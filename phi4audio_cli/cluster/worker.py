"""A worker: a session with journals and outputs, over jobs from the driver.

It runs as a Ray actor, but does not depend on Ray. A mailbox connects the calls of the driver with
the thread of the session.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain

from phi4audio_cli.backend_loader import Listener
from phi4audio_cli.cluster.messages import (
    Assignment,
    ModelLoaded,
    Notice,
    PackedMessage,
    WorkerFailed,
    WorkerMessage,
    WorkerReady,
    WorkerStatus,
    pack,
)
from phi4audio_cli.cluster.shared_paths import SharedPathProbe, verify_probe
from phi4audio_cli.errors import ModelError, Phi4AudioError
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.pipeline.backend import Backend
from phi4audio_cli.pipeline.output_writer import OutputWriter, write_concurrently
from phi4audio_cli.session import Session
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

MAX_QUEUED_JOBS = 4
"""Recordings queued on a worker, so that it does not wait for the driver between short ones."""


class Mailbox:
    """Passes jobs and messages between the driver's calls and the session's thread.

    The session runs in batches: it takes jobs as they come, and a batch ends when the driver has
    marked its end. Then the session finishes all of its recordings, and none waits forever.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._messages: list[PackedMessage] = []
        self._end_of_batch = False
        self._working = False
        self._wants_jobs = False
        self._stopped = False
        self._closed = False

    # Called by the driver.

    def put(self, jobs: Sequence[Job], *, end_of_batch: bool) -> None:
        """Add jobs; `end_of_batch` if no more follow until these are finished."""
        with self._condition:
            self._jobs += jobs
            self._end_of_batch = end_of_batch
            self._condition.notify_all()

    def poll(self, timeout_seconds: float) -> WorkerStatus:
        """Return new messages as soon as there are any, or none after the timeout."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._messages or self._wants_jobs or self._closed, timeout_seconds
            )
            messages, self._messages, self._wants_jobs = tuple(self._messages), [], False
            capacity = max(MAX_QUEUED_JOBS - len(self._jobs), 0)
            idle = not self._working and not self._jobs
            return WorkerStatus(messages, capacity, idle, self._closed)

    def stop(self) -> None:
        """Drop the waiting jobs, and yield no more."""
        with self._condition:
            self._stopped = True
            self._jobs.clear()
            self._condition.notify_all()

    # Called by the session's threads.

    def stopped(self) -> bool:
        """Return whether no further recording may start."""
        return self._stopped

    def job_batches(self) -> Iterator[Iterator[Job]]:
        """Yield the jobs of each batch, until `stop`."""
        while self._wait_for_jobs():
            yield self._next_batch()
            self._end_batch()

    def publish(self, message: PackedMessage) -> None:
        """Add a message for the driver."""
        with self._condition:
            self._messages.append(message)
            self._condition.notify_all()

    def close(self) -> None:
        """Record that the session has ended."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _wait_for_jobs(self) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: self._jobs or self._stopped)
            self._working = not self._stopped
            return self._working

    def _next_batch(self) -> Iterator[Job]:
        while (job := self._next_job()) is not None:
            yield job

    def _next_job(self) -> Job | None:
        with self._condition:
            while not self._jobs and not self._end_of_batch and not self._stopped:
                self._wants_jobs = True
                self._condition.notify_all()
                self._condition.wait()
            return self._jobs.popleft() if self._jobs and not self._stopped else None

    def _end_batch(self) -> None:
        with self._condition:
            self._working = False
            self._wants_jobs = True  # so that the driver is informed immediately
            self._condition.notify_all()


WORKER_POLL_SECONDS = 1.0
"""Time limit in seconds for a call that waits for messages."""

NoticeCallback = Callable[[str], None]
"""Receives one line that a user should know."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Configuration of a worker; it can be pickled."""

    settings: Settings
    make_task: Callable[[Settings], Task]
    fresh: bool = False
    """Whether to ignore the journals of earlier runs."""
    working_dir: str = ""
    """The driver's current folder, for relative paths; empty for the worker's own."""
    num_threads: int | None = None
    """Threads of the model; None for one per core."""
    probe: SharedPathProbe | None = None
    """Paths that the worker must find; None for no check."""
    backend: Backend | None = None
    """Answers in place of the model, in tests of the cluster; it is pickled."""


class Worker:
    """Runs jobs of the driver, and sends back their events.

    The session runs in its own thread. The driver may call the methods concurrently.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._tasks = TaskFactory(config.settings, config.make_task)
        self._session = Session(
            settings=config.settings,
            backend=config.backend,
            listener=_DriverListener(self._publish),
        )
        self._mailbox = Mailbox()
        self._redelivered: set[int] = set()

    def prepare(self) -> WorkerReady:
        """Check paths and find the model, without loading it.

        Raises:
            ModelError: The model is not on this machine.
            OutputError, UsageError: The driver's folders or recordings are not on this machine.
        """
        if self._config.working_dir:
            with suppress(OSError):  # a missing folder affects only relative paths
                os.chdir(self._config.working_dir)
        if self._config.num_threads:
            # torch reads it on import.
            os.environ["OMP_NUM_THREADS"] = str(self._config.num_threads)
        host = socket.gethostname()
        try:
            if self._config.probe is not None:
                verify_probe(self._config.probe)
            model = self._session.fingerprint()
        except Phi4AudioError as error:
            raise type(error)(error.what, f"{error.where or ''} on {host}", error.remedy) from error
        threading.Thread(target=self._run, args=(model,), daemon=True).start()
        return WorkerReady(model, f"{host}, process {os.getpid()}")

    def exchange(self, assignment: Assignment) -> WorkerStatus:
        """Take jobs, and return new messages: as soon as there are any, or after a second."""
        self._redelivered |= assignment.redelivered
        self._mailbox.put(assignment.jobs, end_of_batch=assignment.end_of_batch)
        return self._mailbox.poll(WORKER_POLL_SECONDS)

    def stop(self) -> None:
        """Finish the running batch, without new recordings."""
        self._mailbox.stop()

    # In the session's thread.

    def _run(self, model: str) -> None:
        try:
            with self._session:
                for jobs in self._mailbox.job_batches():
                    self._run_batch(jobs, model)
        except Phi4AudioError as error:
            self._publish(WorkerFailed(error))
        except Exception as error:  # of any class, which need not be picklable
            self._publish(WorkerFailed(ModelError(f"{type(error).__name__}: {error}")))
        finally:
            self._mailbox.close()

    def _run_batch(self, jobs: Iterator[Job], model: str) -> None:
        """Process one batch of jobs; the session loads the model if any job needs it."""
        resume_store = ResumeStore(
            lambda job: self._tasks.identity_of(job, model),
            open_local_copy,
            fresh=self._config.fresh,
            on_notice=self._publish_notice,
        )
        output_writer = OutputWriter(self._config.settings, resume_store)
        unfinished = self._unfinished(jobs, resume_store, output_writer)
        try:
            if (first := next(unfinished, None)) is None:
                return
            events = self._session.run(
                chain([first], unfinished),
                self._tasks,
                answer_store=resume_store,
                should_stop=self._mailbox.stopped,
            )
            with closing(events), closing(write_concurrently(events, output_writer)) as written:
                for event in written:
                    self._publish(event)
        finally:
            resume_store.close()

    def _unfinished(
        self, jobs: Iterator[Job], resume_store: ResumeStore, output_writer: OutputWriter
    ) -> Iterator[Job]:
        """Yield the jobs that no earlier run has finished; publish the others."""
        for job in jobs:
            if job.index in self._redelivered:
                resume_store.trust(job)
            if finished := resume_store.load_finished(job):
                self._publish(output_writer.restore(job, finished))
            else:
                yield job

    def _publish(self, message: WorkerMessage) -> None:
        self._mailbox.publish(pack(message))

    def _publish_notice(self, text: str) -> None:
        self._publish(Notice(text))


class _DriverListener(Listener):
    """Publishes the messages of a worker's session to the driver."""

    def __init__(self, publish: Callable[[WorkerMessage], None]) -> None:
        self._publish = publish

    def on_notice(self, text: str) -> None:
        self._publish(Notice(text))

    def on_model_loaded(self) -> None:
        self._publish(ModelLoaded())
