"""Continuous batching: waiting requests are prefilled into free slots, then all running decode.

A finished request frees its slot for the next one immediately. On out-of-memory fewer requests run
at once; a request that fails in a batch for another reason is retried alone.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import torch

from phi4audio_cli.background import PrefetchThread
from phi4audio_cli.model.batch_decoder import (
    BatchDecoder,
    RunningSequence,
    may_exceed_short_context,
)
from phi4audio_cli.model.batch_limit import BatchLimit, max_waiting
from phi4audio_cli.model.encoder_cache import EncoderCache, num_windows
from phi4audio_cli.model.failure_tracker import FailureTracker
from phi4audio_cli.model.inputs import PreparedRequest
from phi4audio_cli.model.oom import Failure, classify, out_of_memory_error, release_memory
from phi4audio_cli.model.scheduled_request import RequestState, ScheduledRequest
from phi4audio_cli.types import Generation, Request, RequestFailed

PREFILL_DELAY_FRACTION = 8
"""A prefill may be delayed while fewer than one slot in this many is free."""

ADMISSION_WAIT_SECONDS = 1.0
"""How long running requests wait, once, for a request that could join their batch. Batches depend
on the requests alone as long as these arrive in time."""

Response: TypeAlias = Generation | RequestFailed


class Scheduler:
    """Answers the requests of one run.

    Args:
        decoder: Prefills and decodes the running requests.
        encoder_cache: Encodes their audio.
        respond: Turns a request and its finished sequence, still in its slot, into a response.
        limit: How many requests run at once.
        failures: Ends the run where its failures are not the recordings' fault.
        prepared: Prepared requests, prefetched by a thread; None is a flush.
        should_stop: Returns whether no further request is to be started.
        on_status: Called with the stage of a long request, and with an empty text at its end.
    """

    def __init__(
        self,
        decoder: BatchDecoder,
        encoder_cache: EncoderCache,
        respond: Callable[[Request, RunningSequence], Response],
        limit: BatchLimit,
        failures: FailureTracker,
        prepared: PrefetchThread[PreparedRequest | RequestFailed | None],
        should_stop: Callable[[], bool],
        on_status: Callable[[str], None],
    ) -> None:
        self.decoder = decoder
        self.encoder_cache = encoder_cache
        self.respond = respond
        self.limit = limit
        self.failures = failures
        self.prepared = prepared
        self.should_stop = should_stop
        self.on_status = on_status
        self.waiting: deque[ScheduledRequest] = deque()
        self.running: list[ScheduledRequest] = []
        self._unprepared: deque[RequestFailed] = deque()
        self._flushed = self._ended = self._starved = False

    def run(self) -> Iterator[Response]:
        """Yield each response as soon as it is there.

        Raises:
            ModelError: The device is lost.
            NetworkError: The network's code fails, whatever the recording.
        """
        while True:
            yield from self._prefill_waiting()
            if self.running:
                yield from self._decode_step()
            elif self.should_stop() or (self._ended and not self.waiting):
                return

    # Polling.

    def _poll_requests(self) -> None:
        """Move prepared requests to the waiting ones, as many as may wait."""
        if not self.running and not self.waiting:
            self._flushed = False
        while len(self.waiting) < max_waiting(self.limit.current):
            if self._flushed or self._ended or self._unprepared:
                return
            try:
                entry = self.prepared.get(self._poll_seconds())
            except queue.Empty:
                self._starved = True
                return
            self._starved = False
            self._receive(entry)

    def _receive(self, entry: tuple[PreparedRequest | RequestFailed | None] | None) -> None:
        if entry is None:
            self._ended = True
            self._sort_longest_first()
            return
        match entry[0]:
            case None:
                self._flushed = bool(self.running or self.waiting)
                self._sort_longest_first()
            case RequestFailed() as unprepared:
                self._unprepared.append(unprepared)
            case PreparedRequest(request, model_input):
                self.waiting.append(ScheduledRequest(request, model_input))

    def _sort_longest_first(self) -> None:
        """Sort the last requests, so that no long one runs on alone after all others."""
        in_order = sorted(self.waiting, key=lambda each: -each.model_input.prompt_length)
        self.waiting = deque(in_order)

    def _poll_seconds(self) -> float | None:
        """Return how long to wait for the next request, in seconds; None: without limit."""
        if not self.running and not self.waiting:
            return None
        return 0.0 if self._starved else ADMISSION_WAIT_SECONDS

    # Admission.

    def _admit(self) -> list[ScheduledRequest]:
        """Take the waiting requests that fit next to the running ones, in order."""
        admitted: list[ScheduledRequest] = []
        while self.waiting and self._fits(self.waiting[0], admitted):
            admitted.append(self.waiting.popleft())
        if self._should_delay_prefill(admitted):
            self.waiting.extendleft(reversed(admitted))
            return []
        return admitted

    def _fits(self, candidate: ScheduledRequest, admitted: list[ScheduledRequest]) -> bool:
        """Return whether a request can run together with the running and admitted ones."""
        others = [*self.running, *admitted]
        if not others:
            return True
        batch = [*others, candidate]
        if any(self._is_exclusive(each) for each in batch):
            return False
        num_slots = self.decoder.num_slots if self.running else self._max_running(admitted)
        return len(batch) <= min(self._max_running(batch), num_slots)

    def _max_running(self, batch: Iterable[ScheduledRequest]) -> int:
        """Return how many may run: each counts as many encoder windows as the longest has."""
        return max(1, self.limit.current // num_windows(each.model_input for each in batch))

    def _is_exclusive(self, scheduled: ScheduledRequest) -> bool:
        """Return whether a request must run alone."""
        return scheduled.run_alone or may_exceed_short_context(
            self.decoder.network, scheduled.model_input
        )

    def _should_delay_prefill(self, admitted: list[ScheduledRequest]) -> bool:
        """Return whether to wait for more free slots: a small prefill is slow for its size."""
        if not self.running or not self.waiting:
            return False
        positions = sum(each.model_input.prompt_length for each in admitted)
        few = PREFILL_DELAY_FRACTION * len(admitted) < self.decoder.num_slots
        return few and 2 * positions < self.decoder.max_batched_tokens

    # Prefill.

    def _prefill_waiting(self) -> Iterator[Response]:
        while not self.should_stop():
            self._poll_requests()
            while self._unprepared:
                yield self._unprepared.popleft()
            admitted = self._admit()
            if not admitted:
                return
            failure = self._attempt(partial(self._prefill, admitted))
            if failure is None:
                yield from self._finish_done(admitted)
            else:
                yield from self._prefill_one_by_one(admitted, failure)

    def _prefill_one_by_one(
        self, admitted: list[ScheduledRequest], failure: Failure
    ) -> Iterator[Response]:
        """Continue after a prefill of several requests failed: some may succeed alone."""
        if len(admitted) == 1:
            yield from self._recover(admitted[0], failure)
            return
        for index, scheduled in enumerate(admitted):
            if not self._fits(scheduled, []):
                self.waiting.extendleft(reversed(admitted[index:]))
                return
            alone = self._attempt(partial(self._prefill, [scheduled], admitted[index:]))
            if alone is not None:
                yield from self._recover(scheduled, alone)
            else:
                yield from self._finish_done([scheduled])

    def _prefill(
        self, admitted: list[ScheduledRequest], next_ones: Sequence[ScheduledRequest] = ()
    ) -> None:
        """Start all of the admitted requests, or none; `next_ones` are encoded with them."""
        if not self.running:
            alone = self._is_exclusive(admitted[0])
            num_slots = 1 if alone else self._max_running(admitted)
        else:
            num_slots = self.decoder.num_slots
        self.decoder.allocate(num_slots, max(each.model_input.max_length for each in admitted))
        upcoming = [*admitted, *next_ones, *self.waiting]
        prompts = [(each.model_input, self._encode(each, upcoming)) for each in admitted]
        for each, sequence in zip(admitted, self.decoder.prefill(prompts), strict=True):
            each.state, each.sequence = RequestState.RUNNING, sequence
            self.running.append(each)
            self._report_status(each, "decoding")

    def _encode(
        self, scheduled: ScheduledRequest, upcoming: Sequence[ScheduledRequest]
    ) -> torch.Tensor:
        self._report_status(scheduled, "encoding {} of audio")
        alone = self._is_exclusive(scheduled)
        batch = () if alone else [each.model_input for each in upcoming]
        embeddings = self.encoder_cache.get(scheduled.model_input, batch)
        positions = scheduled.model_input.prompt_length
        self._report_status(scheduled, f"prefilling {positions} positions")
        return embeddings

    # Decoding.

    def _decode_step(self) -> Iterator[Response]:
        failure = self._attempt(self.decoder.step)
        if failure is not None:
            yield from self._recover_step(failure)
            return
        yield from self._finish_done(list(self.running))

    def _finish_done(self, scheduled: Iterable[ScheduledRequest]) -> Iterator[Response]:
        for each in scheduled:
            if each.is_done:
                yield from self._finish(each)

    def _finish(self, scheduled: ScheduledRequest) -> Iterator[Response]:
        """Respond to a request whose sequence is done, and free its slot."""
        responses: list[Response] = []
        failure = self._attempt(partial(self._respond, scheduled, responses))
        self._release(scheduled, RequestState.FINISHED)
        if failure is not None:
            yield from self._recover(scheduled, failure)
            return
        if isinstance(responses[0], Generation):
            self.failures.succeeded()
        if scheduled.hit_oom:
            self.limit.confirm()
        yield responses[0]

    def _respond(self, scheduled: ScheduledRequest, responses: list[Response]) -> None:
        if scheduled.sequence is not None:
            responses.append(self.respond(scheduled.request, scheduled.sequence))

    def _release(self, scheduled: ScheduledRequest, state: RequestState) -> None:
        """Take a request from the running ones and free its slot."""
        self.running.remove(scheduled)
        if scheduled.sequence is not None:
            self.decoder.free(scheduled.sequence)
        scheduled.state, scheduled.sequence = state, None
        self._report_status(scheduled, "")

    # Failures.

    def _attempt(self, action: Callable[[], object]) -> Failure | None:
        """Run a pass of the network; return its failure, if any.

        Raises:
            ModelError: The device is lost.
            NetworkError: It failed before any answer, and not for lack of memory.
        """
        try:
            action()
            return None
        except Exception as error:
            failure = classify(error, self.decoder.network.device)
        self.failures.require_working_network(failure)
        release_memory()  # outside of `except`, where the exception's frames are released
        return failure

    def _recover(self, scheduled: ScheduledRequest, failure: Failure) -> Iterator[RequestFailed]:
        """Requeue a request that failed and is not running, or fail it for good."""
        num_others = len(self.running)
        if failure.is_oom and (num_others or self.limit.current > 1):
            self.limit.reduce(num_others or self.limit.current // 2)
            scheduled.hit_oom = True
            self._requeue([scheduled])
        elif not failure.is_oom and not scheduled.run_alone and (num_others or self.waiting):
            scheduled.run_alone = True
            self._requeue([scheduled])
        else:
            yield self._fail(scheduled, failure)

    def _recover_step(self, failure: Failure) -> Iterator[RequestFailed]:
        """Continue after a decode step failed: with half of the requests, or with each alone."""
        running = list(self.running)
        if len(running) == 1:
            self._release(running[0], RequestState.FINISHED)
            yield self._fail(running[0], failure)
            return
        num_kept = len(running) // 2 if failure.is_oom else 0
        if failure.is_oom:
            self.limit.reduce(num_kept)
        for scheduled in running[num_kept:]:
            self._release(scheduled, RequestState.WAITING)
            scheduled.hit_oom |= failure.is_oom
            scheduled.run_alone |= not failure.is_oom
        self._requeue(running[num_kept:])

    def _requeue(self, requests: list[ScheduledRequest]) -> None:
        """Put requests before the waiting ones."""
        for scheduled in requests:
            scheduled.state = RequestState.WAITING
        self.waiting.extendleft(reversed(requests))
        if not self.running:
            self.decoder.free_cache()

    def _fail(self, scheduled: ScheduledRequest, failure: Failure) -> RequestFailed:
        """Give up a request that failed alone.

        Raises:
            NetworkError: Too many recordings failed in a row.
        """
        scheduled.state = RequestState.FINISHED
        self._report_status(scheduled, "")
        request = scheduled.request
        if failure.is_oom:
            self.limit.restore()
            network = self.decoder.network
            return RequestFailed(
                request, out_of_memory_error(request, network.device, network.dtype)
            )
        self.failures.failed(request.job, failure)
        return RequestFailed(request, failure.error)

    def _report_status(self, scheduled: ScheduledRequest, stage: str) -> None:
        if scheduled.is_long and scheduled.request.chunk is not None:
            minutes, seconds = divmod(round(scheduled.request.chunk.seconds), 60)
            self.on_status(stage.format(f"{minutes}:{seconds:02}"))
