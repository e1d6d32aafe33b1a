"""The driver: assigns jobs to workers, yields their events, and requeues jobs of lost workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from phi4audio_cli.cluster.messages import (
    Assignment,
    ModelLoaded,
    Notice,
    Reply,
    WorkerFailed,
    WorkerLost,
    WorkerMessage,
    WorkerPool,
    WorkerReady,
    WorkerStatus,
    unpack,
)
from phi4audio_cli.cluster.work_queue import MAX_CRASHES, WorkQueue
from phi4audio_cli.cluster.worker_registry import WorkerRegistry, WorkerState
from phi4audio_cli.cluster.worker_resources import WorkerCount
from phi4audio_cli.errors import FileError, ModelError, Phi4AudioError
from phi4audio_cli.jobs.input_source import display_name
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.pipeline.backend import ShouldStop
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import ChunkDone, FileFailed, Job

DRIVER_POLL_SECONDS = 0.5
"""Interval in seconds at which the driver checks for a stop and for missing workers."""

MAX_START_FAILURES = 3
"""Workers in a row lost before they loaded the model, after which the run fails."""

MAX_FAILURES_WITHOUT_PROGRESS = 8
"""Workers in a row lost without an answer from any, after which the run fails."""

QUORUM_TIMEOUT_SECONDS = 30.0
"""Time for which ready workers wait for the others, so that start-up errors end the run early."""

SHUTDOWN_TIMEOUT_SECONDS = 10.0
"""Time limit for idle workers to end."""


class Driver:
    """Runs jobs on workers.

    Args:
        queue: The jobs.
        pool: Runs the workers.
        limits: Number of workers.
        should_stop: Returns True to end the run.
        on_notice: Called with a line for the user.
        on_first_load: Called when the first worker has loaded its model.
        wait_for_locks: Whether a locked recording is retried, for a dead worker may have locked it.
        now: Returns the time in seconds.
    """

    def __init__(
        self,
        queue: WorkQueue,
        pool: WorkerPool,
        limits: WorkerCount,
        should_stop: ShouldStop,
        *,
        on_notice: Callable[[str], None] = lambda line: None,
        on_first_load: Callable[[], None] = lambda: None,
        wait_for_locks: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = WorkerRegistry(pool, limits, now)
        self._queue = queue
        self._pool = pool
        self._should_stop = should_stop
        self._on_notice = on_notice
        self._on_first_load = on_first_load
        self._wait_for_locks = wait_for_locks
        self._now = now
        self._model: str | None = None
        self._start_failures = self._failures_without_progress = 0
        self._any_loaded = False
        self._shown_notices: set[str] = set()
        self._started_at = now()
        self._capacity_reported = False

    def events(self) -> Generator[RunEvent]:
        """Run all jobs and yield their events.

        Raises:
            Phi4AudioError: No worker can run them.
        """
        while not self._queue.finished and not self._should_stop():
            self.registry.scale(self._queue.num_waiting)
            self._report_missing_capacity()
            for worker, reply in self._pool.poll(DRIVER_POLL_SECONDS):
                yield from self._handle_reply(worker, reply)
            self._assign_jobs()
        yield from self._shutdown()

    def _shutdown(self) -> Iterator[RunEvent]:
        """End the workers after their batches."""
        stopped = self._should_stop()
        self.registry.shutdown()
        deadline = self._now() + SHUTDOWN_TIMEOUT_SECONDS
        while self.registry.workers and (stopped or self._now() < deadline):
            for worker, reply in self._pool.poll(DRIVER_POLL_SECONDS):
                yield from self._handle_reply(worker, reply)
            self._assign_jobs()

    def _report_missing_capacity(self) -> None:
        """Report once that the cluster has no resources for some workers."""
        if self._capacity_reported or self._now() - self._started_at < QUORUM_TIMEOUT_SECONDS:
            return
        self._capacity_reported = True
        if self.registry.num_starting:
            count = f"{self.registry.num_starting} of {len(self.registry.workers)} workers"
            self._on_notice(
                f"{count} wait for resources of the cluster (ray status shows their use)"
            )

    def _assign_jobs(self) -> None:
        for worker in self.registry.awaiting_assignment(self._may_assign()):
            if worker.stopping:
                assignment = Assignment(end_of_batch=True)
            else:
                assignment = self._queue.lease(worker.name, self._lease_size(worker))
            self.registry.send(worker, assignment)

    def _lease_size(self, worker: WorkerState) -> int:
        # Few at a time towards the end, so that all workers finish together. None to a worker at
        # its capacity, or each answer of a long recording would bring another job.
        return min(
            worker.capacity, max(1, self._queue.num_waiting // (2 * len(self.registry.workers)))
        )

    def _may_assign(self) -> bool:
        return self._should_stop() or self.registry.quorum_ready(QUORUM_TIMEOUT_SECONDS)

    def _handle_reply(self, name: str, reply: Reply) -> Iterator[RunEvent]:
        worker = self.registry.workers.get(name)
        if worker is None:
            return
        match reply:
            case WorkerReady(model=model):
                self._check_model(worker, model)
                self.registry.mark_ready(worker, reply)
            case WorkerStatus():
                for message in reply.messages:
                    yield from self._handle_message(worker, unpack(message))
                if name in self.registry.workers:
                    self.registry.update(worker, reply)
            case WorkerLost(error=error, died=died):
                yield from self._handle_lost_worker(worker, error, died=died)

    def _check_model(self, worker: WorkerState, model: str) -> None:
        self._model = self._model or model
        if model != self._model:
            raise ModelError(
                "the model on this worker differs from the other workers' model",
                worker.name,
                "copy the same files to all machines",
            )

    def _handle_message(self, worker: WorkerState, message: WorkerMessage) -> Iterator[RunEvent]:
        match message:
            case Notice(text=text):
                if text not in self._shown_notices:  # all workers send the same notices
                    self._shown_notices.add(text)
                    self._on_notice(text)
            case ModelLoaded():
                worker.loaded_at = self._now()
                if not self._any_loaded:
                    self._any_loaded = True
                    self._on_first_load()
                self._start_failures = 0
            case WorkerFailed(error=error):
                yield from self._handle_lost_worker(
                    worker, error, died=worker.loaded_at is not None
                )
            case _:
                yield from self._handle_event(worker, message)

    def _handle_event(self, worker: WorkerState, event: RunEvent) -> Iterator[RunEvent]:
        job = event.job
        match event:
            case FileFailed(error=RecordingLockedError()) if self._should_retry_locked(job):
                if self._queue.retry_later(worker.name, job):
                    return
            case RecordingWritten():
                self._failures_without_progress = 0
                if self._queue.was_redelivered(job):
                    # A worker that was lost since has finished it in this run.
                    event = replace(event, is_new=True)
                self._queue.ack(worker.name, job)
            case FileFailed():
                self._queue.ack(worker.name, job)
            case ChunkDone(generation=generation, resumed=False):
                worker.add_audio(generation.request.chunk)
                self._failures_without_progress = 0
        worker.count_event(event)
        yield event

    def _should_retry_locked(self, job: Job) -> bool:
        return self._wait_for_locks or self._queue.was_redelivered(job)

    def _handle_lost_worker(
        self, worker: WorkerState, error: Exception, *, died: bool
    ) -> Iterator[RunEvent]:
        self.registry.remove(worker)
        if self._should_stop() or worker.stopping:
            return
        self._failures_without_progress += 1
        self._start_failures += worker.loaded_at is None
        if self._is_fatal(worker, error, died):
            raise worker.attribute_error(error)
        count = self._queue.num_leased(worker.name)
        requeued = f"; other workers get its recordings ({count})" if count else ""
        self._on_notice(f"{worker.name} is lost: {error}{requeued}")
        # A recording can't crash a worker before the model is loaded.
        crashed = died and worker.loaded_at is not None
        for job in self._queue.requeue(worker.name, crashed=crashed):
            what = f"{MAX_CRASHES} workers in a row ended with this recording: {error}"
            remedy = "try it with phi4audio transcribe, alone and without --cluster"
            yield FileFailed(job, FileError(what, display_name(job), remedy))

    def _is_fatal(self, worker: WorkerState, error: Exception, died: bool) -> bool:
        """Return whether every further worker would be lost, too."""
        refused = isinstance(error, Phi4AudioError) and not died and worker.loaded_at is None
        if refused and not self._any_loaded:
            return True
        return (
            self._start_failures >= MAX_START_FAILURES
            or self._failures_without_progress >= MAX_FAILURES_WITHOUT_PROGRESS
        )
