"""Jobs are done by several workers, whatever becomes of some of them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from phi4audio_cli.cluster.driver import FRUITLESS, Driver
from phi4audio_cli.cluster.hatch import AHEAD
from phi4audio_cli.cluster.queue import DEATHS, Queue
from phi4audio_cli.cluster.sizes import Workers
from phi4audio_cli.errors import CheckpointError, ModelError
from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.jobs.journal import Journal
from phi4audio_cli.jobs.shelf import journal_path
from phi4audio_cli.types import ChunkDone, FileFailed, FileStarted, Job, Request

from .scripted import PoolHere, asked, end_at, make_jobs, plan

TWO = Workers(2, 2)


def drive(
    jobs: list[Job], pool: PoolHere, workers: Workers = TWO, **more
) -> tuple[list[Told], Driver]:
    driver = Driver(Queue(jobs), pool, workers, more.pop("stop", lambda: False), **more)
    return list(driver.events()), driver


def done(told: list[Told]) -> list[int]:
    return sorted(each.job.index for each in told if isinstance(each, Filed))


def failed(told: list[Told]) -> dict[int, str]:
    return {each.job.index: str(each.error) for each in told if isinstance(each, FileFailed)}


def test_all_is_done_told_and_counted_by_worker(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 2.5, 1.0, 0.5, 3.0, 0.5])
    notes: list[str] = []
    begun: list[int] = []
    told, driver = drive(jobs, PoolHere(plan()), say=notes.append, begin=lambda: begun.append(1))
    assert done(told) == list(range(6))
    words = (tmp_path / "out" / "talk1.txt").read_text(encoding="utf-8").split()
    assert sum(map(int, words[::2])) == 2.5 * 16_000
    assert sum(isinstance(each, FileStarted) for each in told) == 6
    assert sum(isinstance(each, ChunkDone) for each in told) == 11
    assert notes == ["a note"], "what two workers say is told once"
    assert begun == [1]
    figures = driver.crew.figures()
    assert sum(each["done"] for each in figures) == 6
    assert sum(each["seconds"] for each in figures) == pytest.approx(8.0)


def test_what_an_earlier_run_did_is_not_done_again(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 1.5])
    first, _ = drive(jobs, PoolHere(plan()))
    (tmp_path / "out" / "talk1.txt").unlink()
    told, _ = drive(jobs, PoolHere(plan(partial(end_at, tmp_path))))
    assert asked(tmp_path) == []
    filed = {each.job.index: each for each in told if isinstance(each, Filed)}
    assert [filed[index].anew for index in (0, 1)] == [False, False]
    assert [len(filed[index].written) for index in (0, 1)] == [0, 1]
    assert {each.text for each in first if isinstance(each, Filed)} == {
        each.text for each in filed.values()
    }


def test_fresh_forgets_what_earlier_runs_did_but_not_what_this_one_did(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [3.0])
    drive(jobs, PoolHere(plan()))

    def answer(request: Request) -> str:
        text = end_at(tmp_path, request)
        if asked(tmp_path)[-1] == (0, 2) and asked(tmp_path).count((0, 2)) == 1:
            raise RuntimeError("once")
        return text

    told, _ = drive(jobs, PoolHere(plan(answer, fresh=True)), Workers(1, 1))
    assert done(told) == [0]
    assert asked(tmp_path) == [(0, 0), (0, 1), (0, 2), (0, 2), (0, 3)]


def test_a_poisoned_recording_is_told_from_its_neighbours(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 8)
    (tmp_path / "break-2").touch()
    pool = PoolHere(plan(partial(end_at, tmp_path)))
    notes: list[str] = []
    told, _ = drive(jobs, pool, say=notes.append)
    assert done(told) == [0, 1, 3, 4, 5, 6, 7]
    assert f"{DEATHS} workers" in failed(told)[2]
    assert "recording 2 is poison" in failed(told)[2]
    assert "talk2.wav" in failed(told)[2]
    counted = Counter(job for job, _ in asked(tmp_path))
    assert counted == {index: DEATHS if index == 2 else 1 for index in range(8)}
    assert len([line for line in notes if "is gone" in line]) == DEATHS


def test_a_recordings_own_failure_costs_no_worker(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 0.5])
    jobs[0].source.write_bytes(b"no audio")
    pool = PoolHere(plan())
    told, driver = drive(jobs, pool, Workers(1, 1))
    assert done(told) == [1]
    assert "talk0.wav" in failed(told)[0]
    assert pool.started == ["worker 1"]
    assert driver.crew.figures()[0]["failed"] == 1


def test_answers_of_long_recordings_bring_a_worker_no_more_of_them(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [10.0] * 40)
    (tmp_path / "slow").write_text("0.002")
    queue = Queue(jobs)
    driver = Driver(queue, PoolHere(plan(partial(end_at, tmp_path))), TWO, lambda: False)
    most = 0
    for _ in driver.events():
        most = max(most, *(queue.held(name) for name in driver.crew.hands), 0)
    assert most <= 2 * AHEAD, "what lies ready, and what is read or waits for its answers"


def test_there_are_no_more_workers_than_recordings_nor_than_asked_for(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 2)
    pool = PoolHere(plan())
    drive(jobs, pool, Workers(5, 5))
    assert len(pool.started) == 2
    (tmp_path / "slow").write_text("0.05")
    jobs = make_jobs(tmp_path, [0.6] * 30)
    pool = PoolHere(plan(partial(end_at, tmp_path)))
    told, _ = drive(jobs, pool, Workers(1, 3))
    assert done(told) == list(range(30))
    assert pool.most == 3, "more are started while recordings wait"


def test_a_model_that_cant_be_loaded_ends_the_run_at_once_and_says_where(tmp_path: Path) -> None:
    def refuse(task, settings, say):
        raise CheckpointError("a tensor is missing", "model.safetensors", "download it again")

    pool = PoolHere(plan(open_engine=refuse))
    with pytest.raises(CheckpointError, match=r"model.safetensors \(worker \d on .*\): a tensor"):
        drive(make_jobs(tmp_path, [0.5]), pool)
    assert len(pool.started) == 1


def test_a_fault_that_every_worker_has_ends_the_run(tmp_path: Path) -> None:
    def break_always(request: Request) -> str:
        raise TypeError("a bug")

    jobs = make_jobs(tmp_path, [0.5] * 9)
    pool = PoolHere(plan(break_always))
    with pytest.raises(ModelError, match="TypeError: a bug"):
        drive(jobs, pool)
    assert len(pool.started) <= FRUITLESS + 1


def test_workers_that_never_get_ready_end_the_run_too(tmp_path: Path) -> None:
    def crash(settings, say):
        raise OSError("no such device")

    with pytest.raises(ModelError, match="OSError: no such device"):
        drive(make_jobs(tmp_path, [0.5] * 9), PoolHere(plan(identify_model=crash)))


def test_a_worker_with_another_model_is_refused(tmp_path: Path) -> None:
    models = iter(["one", "another"])
    made = plan(identify_model=lambda settings, say: next(models))
    with pytest.raises(ModelError, match="another model"):
        drive(make_jobs(tmp_path, [0.5] * 9), PoolHere(made))


def test_a_recording_that_is_held_is_waited_for_unless_others_work_there(
    tmp_path: Path, monkeypatch
) -> None:
    jobs = make_jobs(tmp_path, [0.5, 0.5])
    held = Journal.claim(journal_path(jobs[0], "Transcribe"))  # type: ignore[arg-type]
    assert held is not None
    told, _ = drive(jobs, PoolHere(plan()), patient=False)
    assert done(told) == [1]
    assert "another job works on it" in failed(told)[0]
    monkeypatch.setattr("phi4audio_cli.cluster.queue.CLAIM_PAUSE", 0.05)
    threading.Timer(0.5, held.close).start()
    told, _ = drive(jobs, PoolHere(plan()))
    assert done(told) == [0, 1]


def test_a_cluster_without_room_for_all_is_told_and_those_that_are_there_begin(
    tmp_path: Path,
) -> None:
    class Full(PoolHere):
        def start(self) -> str:
            name = super().start()
            if len(self.started) > 1:
                self._open = {call: of for call, of in self._open.items() if of != name}
            return name

    clock = itertools.count(0, 10)
    notes: list[str] = []
    jobs = make_jobs(tmp_path, [0.5] * 8)
    told, _ = drive(jobs, Full(plan()), say=notes.append, now=lambda: float(next(clock)))
    assert done(told) == list(range(8))
    assert [line for line in notes if "wait for room" in line] == [
        "1 of 2 workers wait for room in the cluster (ray status shows who has it)"
    ]


def test_when_stopped_batches_are_finished_and_nothing_more_is_begun(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 20)
    stopped: list[bool] = []
    pool = PoolHere(plan())
    driver = Driver(Queue(jobs), pool, Workers(2, 2), lambda: bool(stopped))
    told = []
    for each in driver.events():
        told.append(each)
        stopped.append(True)
    assert 1 <= len(done(told)) < 20
    assert not pool._workers
    rest, _ = drive(jobs, PoolHere(plan()))
    assert done(rest) == list(range(20))
