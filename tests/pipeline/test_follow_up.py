"""Retries and follow-up requests: each request is answered once for any batching of the backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.background import prefetch
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import (
    AudioInfo,
    Chunk,
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    Generation,
    Job,
    Request,
    Transcript,
)

RATE = 16_000
CHUNK = 100


@dataclass(frozen=True)
class Plan:
    """The requests and failures of one recording."""

    chunks: int
    per_chunk: int
    retry_every: int
    """Every n-th chunk gets a retry; 0: none."""
    rounds: tuple[int, ...]
    """Follow-up requests of each round."""
    fails_after: int | None = None
    """Chunks that can be decoded."""


PLANS = st.builds(
    Plan,
    chunks=st.integers(0, 7),
    per_chunk=st.integers(1, 3),
    retry_every=st.integers(0, 3),
    rounds=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    fails_after=st.none() | st.integers(0, 7),
)


class PlannedTask(Task):
    """Makes the requests of the plans; its result lists the answers."""

    max_chunk_seconds = 40.0

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        for number in range(self.plans[job].per_chunk):
            yield Request(job, chunk, f"{chunk.index}.{number}", 1, "part")

    def retry(self, answer: Generation) -> Sequence[Request]:
        request = answer.request
        assert request.chunk is None or request.chunk.samples.any(), (
            "the audio was released too early"
        )
        every = self.plans[request.job].retry_every
        if request.label != "part" or not every or request.chunk.index % every:
            return ()
        return [replace(request, prompt=f"{request.prompt} again", label="repair")]

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        if not answers:
            return ()
        assert not any(each.request.chunk.samples.any() for each in answers if each.request.chunk)
        job = answers[0].request.job
        done = {each.request.label for each in answers}
        for number, count in enumerate(self.plans[job].rounds):
            if f"round {number}" not in done:
                texts = (f"round {number}.{index}" for index in range(count))
                return [Request(job, None, text, 1, f"round {number}") for text in texts]
        return ()

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        return Transcript("|".join(each.text for each in answers), None, (), seconds, "")


def expected(plan: Plan) -> list[str]:
    """Return the texts of all answers of a recording, sorted."""
    found = [f"{c}.{n}" for c in range(plan.chunks) for n in range(plan.per_chunk)]
    if plan.retry_every:
        found += [f"{each} again" for each in found if int(each[0]) % plan.retry_every == 0]
    if found:
        found += [f"round {r}.{i}" for r, count in enumerate(plan.rounds) for i in range(count)]
    return sorted(found)


class Recording:
    damage = None

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.info = AudioInfo(RATE, None)

    def blocks(self) -> Iterator[np.ndarray]:
        for number in range(self.plan.chunks):
            if number == self.plan.fails_after:
                raise OSError("the disk is gone")
            yield np.full(CHUNK, 0.5, np.float32)


def chunk_blocks(blocks, rate: int, limit: float) -> Iterator[Chunk]:
    for index, block in enumerate(blocks):
        yield Chunk(index, block, rate, index * CHUNK)


class PrefetchingBackend(ScriptedBackend):
    """Pulls requests ahead in a thread, as the backend of the network does."""

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation]:
        yield from super().generate(prefetch(requests, self.batch_size or 5), should_stop)


def scripted_audio(plans: Sequence[Plan]) -> SourceOptions:
    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        yield Recording(plans[int(path.name)])

    return SourceOptions([InProcessReader(open_audio, chunk_blocks)])


def events(
    plans: Sequence[Plan], backend: ScriptedBackend, task: Task | None = None
) -> list[Event]:
    jobs = [Job(index, Path(str(index))) for index in range(len(plans))]
    task = task or PlannedTask(plans)
    return list(
        run_pipeline(
            jobs,
            lambda job: task,
            backend,
            chunk_seconds=1,
            source_options=scripted_audio(plans),
        )
    )


def say_prompt(request: Request) -> str:
    return request.prompt


@settings(deadline=5000, max_examples=60)
@given(
    plans=st.lists(PLANS, max_size=5),
    kind=st.sampled_from([ScriptedBackend, PrefetchingBackend]),
    window=st.sampled_from([1, 2, 5, 32, None]),
)
def test_every_request_is_answered_once_and_every_recording_has_one_outcome(plans, kind, window):
    backend = kind(say_prompt, batch_size=window)
    found = events(plans, backend)
    outcomes = {e.job.index: e for e in found if isinstance(e, FileDone | FileFailed)}
    assert len(outcomes) == sum(isinstance(e, FileDone | FileFailed) for e in found) == len(plans)
    for index, plan in enumerate(plans):
        if plan.fails_after is not None and plan.fails_after < plan.chunks:
            assert isinstance(outcomes[index], FileFailed)
            continue
        texts = outcomes[index].result.text.split("|") if plan.chunks else []
        assert sorted(texts) == expected(plan)
        assert outcomes[index].result.duration == plan.chunks * CHUNK / RATE
        chunks = [text for text in texts if text[0].isdigit() and "again" not in text]
        assert chunks == sorted(chunks)  # in the order of asking, however they were answered
        rounds = [text for text in texts if text.startswith("round")]
        assert rounds == sorted(rounds)
    assert len(backend.requests) == len(set(map(id, backend.requests)))


def test_follow_ups_of_several_recordings_share_batches():
    """Those of all recordings come before one flush, so that they fill batches."""
    plans = [Plan(1, 1, 0, (2,)) for _ in range(4)]
    sizes: list[int] = []

    class Counting(ScriptedBackend):
        def _answer(self, held: list[Request]) -> Iterator[Generation]:
            sizes.append(len(held))
            return super()._answer(held)

    events(plans, Counting(say_prompt, batch_size=None))
    assert sizes == [4, 8, 0]


def test_waiting_for_answers_takes_no_cpu_time():
    class Slow(ScriptedBackend):
        def _answer(self, held: list[Request]) -> Iterator[Generation]:
            time.sleep(0.2)
            return super()._answer(held)

    began = time.process_time()
    events([Plan(1, 1, 0, (1, 1, 1))], Slow(say_prompt, batch_size=None))
    assert time.process_time() - began < 0.15


def no_thread_is_left() -> bool:
    for _ in range(50):
        if not any(thread.name == "prefetch" for thread in threading.enumerate()):
            return True
        time.sleep(0.05)
    return False


def test_an_error_of_the_backend_ends_the_run_and_the_feed():
    def fail_at_once(request: Request) -> str:
        raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        events([Plan(3, 1, 0, (1,))], PrefetchingBackend(fail_at_once, batch_size=32))
    assert no_thread_is_left()


def test_a_closed_run_leaves_no_waiting_thread():
    plans = [Plan(3, 1, 0, (2, 2))]
    stream = run_pipeline(
        [Job(0, Path("0"))],
        lambda job: PlannedTask(plans),
        PrefetchingBackend(say_prompt),
        chunk_seconds=1,
        source_options=scripted_audio(plans),
    )
    next(event for event in stream if isinstance(event, ChunkDone))
    stream.close()
    assert no_thread_is_left()


@pytest.mark.parametrize("method", ["retry", "follow_up", "assemble"])
def test_a_task_that_fails_for_one_recording_fails_only_that(method: str):
    plans = [Plan(3, 2, 1, (1,))] * 3

    class FailingTask(PlannedTask):
        pass

    def fail(self: Task, answers, *more):
        one = answers if isinstance(answers, Generation) else answers[0]
        if one.request.job == 1:
            raise ArithmeticError("failed")
        return getattr(PlannedTask, method)(self, answers, *more)

    setattr(FailingTask, method, fail)
    found = events(plans, PrefetchingBackend(say_prompt), FailingTask(plans))
    outcomes = sorted(
        (e.job.index, type(e).__name__) for e in found if isinstance(e, FileDone | FileFailed)
    )
    assert outcomes == [(0, "FileDone"), (1, "FileFailed"), (2, "FileDone")]


def test_a_follow_up_with_a_chunk_is_refused_since_its_audio_is_released():
    class ChunkFollowUp(PlannedTask):
        def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
            return [answers[0].request]

    plans = [Plan(1, 1, 0, ())]
    [failed] = [e for e in events(plans, ScriptedBackend(say_prompt), ChunkFollowUp(plans))
                if isinstance(e, FileFailed)]  # fmt: skip
    assert "its audio is released" in str(failed.error)


def test_an_answer_without_an_open_request_is_the_backends_mistake():
    def another(request: Request) -> Generation:
        return Generation(replace(request), "", (), (), "stop")

    with pytest.raises(ValueError, match="not open"):
        events([Plan(1, 1, 0, ())], ScriptedBackend(another))
