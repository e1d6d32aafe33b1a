"""Several readers at once: the same results for any number of readers, and bounded buffers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from phi4audio_cli.audio.reader import (
    InProcessReader,
    RaiseIfCancelled,
    ReadRequest,
    ignore_cancellation,
)
from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from phi4audio_cli.errors import AudioError
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.reader_pool import (
    BUFFERED_ITEMS_PER_READER,
    BUFFERED_SECONDS_PER_READER,
)
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import (
    AudioInfo,
    Chunk,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Generation,
    Job,
    Request,
    Transcript,
)
from tests.audio.scripted_recordings import chunk_per_block, open_scripted

RATE = 16_000


class Listing(Task):
    """Its result lists the answers."""

    max_chunk_seconds = 40.0

    def requests(self, job: int, chunk: Chunk) -> list[Request]:
        return [Request(job, chunk, f"{job}:{chunk.index}", 1)]

    def assemble(self, answers, seconds: float) -> Transcript:
        return Transcript("|".join(each.text for each in answers), None, (), seconds, "")


class ScriptedReader:
    """Reads chunks of some seconds, as many as the file's name says; `3x` fails after the third."""

    def __init__(self, seconds: float = 1.0, wait: float = 0.0) -> None:
        self.seconds = 0.0
        self.damage = None
        self.audible_seconds = 0.0
        self.info = AudioInfo(RATE, None)
        self.delivered = 0
        self._length = int(seconds * RATE)
        self._wait = wait
        self._name = ""

    @contextmanager
    def read(
        self, request: ReadRequest, raise_if_cancelled: RaiseIfCancelled = ignore_cancellation
    ) -> Iterator[ScriptedReader]:
        self._name, self._check, self.seconds = request.path.name, raise_if_cancelled, 0.0
        yield self

    def chunks(self) -> Iterator[Chunk]:
        silence = np.broadcast_to(np.float32(0), self._length)
        for index in range(int(self._name.rstrip("x"))):
            self._check()
            time.sleep(self._wait)
            self.delivered += 1
            self.seconds += self._length / RATE
            yield Chunk(index, silence, RATE, index * self._length)
        if self._name.endswith("x"):
            raise AudioError("it broke", self._name)


def jobs(*names: str | int) -> list[Job]:
    return [Job(index, Path(str(name))) for index, name in enumerate(names)]


def echo_prompt(request: Request) -> str:
    return request.prompt


def run_jobs(
    jobs: Iterable[Job],
    readers,
    backend: ScriptedBackend | None = None,
    stop: ShouldStop = never_stop,
) -> Iterator[Event]:
    backend = backend or ScriptedBackend(echo_prompt, batch_size=3)
    return run_pipeline(
        jobs,
        lambda job: Listing(),
        backend,
        chunk_seconds=40,
        source_options=SourceOptions(readers),
        should_stop=stop,
    )


def outcomes(events: Iterable[Event]) -> dict[int, str]:
    found: dict[int, str] = {}
    for event in events:
        if isinstance(event, FileDone | FileFailed):
            assert event.job.index not in found
            found[event.job.index] = (
                event.result.text if isinstance(event, FileDone) else str(event.error)
            )
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_results_are_the_same_for_any_number_of_readers(count: int) -> None:
    names = [3, 0, 40, 1, "2x", 7, 1, "0x", 0, 12]
    readers = [ScriptedReader(wait=0.001 * (3 - number)) for number in range(count)]
    expected = {
        index: str(AudioError("it broke", str(name)))
        if str(name).endswith("x")
        else "|".join(f"{index}:{number}" for number in range(int(name)))
        for index, name in enumerate(names)
    }
    assert outcomes(run_jobs(jobs(*names), readers)) == expected


def test_all_readers_are_used() -> None:
    readers = [ScriptedReader(wait=0.01) for _ in range(3)]
    outcomes(run_jobs(jobs(*[5] * 6), readers))
    assert all(reader.delivered >= 5 for reader in readers)


def test_items_of_the_first_recording_come_first() -> None:
    """It is finished before others, so that few are in progress."""
    held: list[int] = []
    readers = [ScriptedReader() for _ in range(3)]

    class WaitingBackend(ScriptedBackend):
        def generate(self, requests, should_stop: ShouldStop = never_stop) -> Iterator[Generation]:
            while sum(reader.delivered for reader in readers) < 12:
                time.sleep(0.01)
            time.sleep(0.1)  # until the last items are buffered
            for request in requests:
                if request is not None:
                    held.append(request.job)
                    yield Generation(request, "", (), (), "stop")

    outcomes(run_jobs(jobs(4, 4, 4), readers, WaitingBackend(echo_prompt)))
    assert held == sorted(held)


@pytest.mark.slow
def test_a_reader_that_crashes_fails_only_its_recording() -> None:
    names = ["block-block", "block-segfault", "block-block-block", "leave", "block", "block"]
    readers = [SubprocessReader(InProcessReader(open_scripted, chunk_per_block)) for _ in range(3)]
    try:
        found = outcomes(run_jobs(jobs(*(f"{name}.wav" for name in names)), readers))
    finally:
        for reader in readers:
            reader.close()
    assert [found[index] for index in (0, 2, 4, 5)] == ["0:0|0:1", "2:0|2:1|2:2", "4:0", "5:0"]
    assert "crashed on it (SIGSEGV)" in found[1]
    assert "crashed on it (exit code 3)" in found[3]


@pytest.mark.parametrize(("seconds", "count"), [(0.1, 1), (0.1, 3), (40, 1), (40, 3), (1000, 2)])
def test_read_ahead_is_bounded_over_all_readers(seconds: float, count: int) -> None:
    readers = [ScriptedReader(seconds) for _ in range(count)]
    stream = run_jobs(jobs(*[50] * 5), readers, ScriptedBackend(echo_prompt))
    next(event for event in stream if not isinstance(event, FileStarted))
    before = -1
    while before != (before := sum(reader.delivered for reader in readers)):
        time.sleep(0.2)  # until nothing more is read
    # One was answered; each reader holds one back and waits with another.
    waiting = before - 1 - 2 * count
    assert 0 <= waiting <= BUFFERED_ITEMS_PER_READER * count
    assert waiting * seconds <= max(BUFFERED_SECONDS_PER_READER * count, seconds)
    stream.close()


class CountedJobs:
    """Jobs that are counted as they are taken; one of them may wait."""

    def __init__(self, names: Iterable[str | int], wait_before: int | None = None) -> None:
        self.jobs = jobs(*names)
        self.wait_before = wait_before
        self.taken = 0
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[Job]:
        for job in self.jobs:
            if job.index == self.wait_before:
                assert self.go_on.wait(20)
            self.taken += 1
            yield job


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_jobs_are_taken_than_there_are_readers(count: int) -> None:
    counted_jobs = CountedJobs([100] * 9)
    stream = run_jobs(
        counted_jobs, [ScriptedReader() for _ in range(count)], ScriptedBackend(echo_prompt)
    )
    next(stream)
    time.sleep(0.2)
    assert counted_jobs.taken == count
    stream.close()


@pytest.mark.parametrize("count", [1, 2])
def test_late_jobs_do_not_delay_earlier_ones(count: int) -> None:
    """Their source may wait for the results of earlier jobs, so held requests are answered."""
    counted_jobs = CountedJobs([2, 2, 1], wait_before=2)
    done: list[int] = []
    for event in run_jobs(
        counted_jobs,
        [ScriptedReader() for _ in range(count)],
        ScriptedBackend(echo_prompt, batch_size=99),
    ):
        if isinstance(event, FileDone):
            done.append(event.job.index)
            if len(done) == 2:
                counted_jobs.go_on.set()
    assert sorted(done[:2]) == [0, 1]
    assert done[2] == 2


def test_stopping_does_not_wait_for_jobs() -> None:
    counted_jobs = CountedJobs([2, 2], wait_before=1)
    stopped = threading.Event()
    found: list[Event] = []
    began = time.monotonic()
    for event in run_jobs(
        counted_jobs, [ScriptedReader()], ScriptedBackend(echo_prompt), stop=stopped.is_set
    ):
        found.append(event)
        if isinstance(event, FileDone):
            stopped.set()
    assert outcomes(found) == {0: "0:0|0:1"}
    assert time.monotonic() - began < 15
    counted_jobs.go_on.set()


def test_an_error_of_the_jobs_ends_the_run_after_those_before_it() -> None:
    def failing() -> Iterator[Job]:
        yield from jobs(1, 1)
        raise OSError("the list is gone")

    found: list[Event] = []
    stream = run_jobs(failing(), [ScriptedReader(), ScriptedReader()], ScriptedBackend(echo_prompt))
    with pytest.raises(OSError, match="the list is gone"):
        found.extend(stream)
    assert set(outcomes(found)) == {0, 1}


def test_a_closed_run_leaves_no_thread() -> None:
    stream = run_jobs(
        jobs(*[1000] * 3),
        [ScriptedReader(wait=0.01) for _ in range(3)],
        ScriptedBackend(echo_prompt),
    )
    next(stream)
    stream.close()
    assert not [each for each in threading.enumerate() if each.name == "reader"]
