"""The driver: events of all jobs, lost workers, locks and limits."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from phi4audio_cli.cluster.driver import MAX_FAILURES_WITHOUT_PROGRESS, Driver
from phi4audio_cli.cluster.work_queue import MAX_CRASHES, WorkQueue
from phi4audio_cli.cluster.worker import MAX_QUEUED_JOBS
from phi4audio_cli.cluster.worker_resources import WorkerCount
from phi4audio_cli.errors import CheckpointError, ModelError
from phi4audio_cli.jobs.journal import LocalJournal
from phi4audio_cli.jobs.resume import journal_path
from phi4audio_cli.jobs.task_builders import summarize_task
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.session import Session
from phi4audio_cli.types import ChunkDone, FileFailed, FileStarted, Job, Request

from .scripted_workers import (
    ThreadWorkerPool,
    crash_on_demand,
    make_jobs,
    make_worker_config,
    recorded_requests,
)

TWO = WorkerCount(2, 2)


def drive(
    jobs: list[Job], pool: ThreadWorkerPool, workers: WorkerCount = TWO, **more
) -> tuple[list[RunEvent], Driver]:
    driver = Driver(WorkQueue(jobs), pool, workers, more.pop("stop", lambda: False), **more)
    return list(driver.events()), driver


def done_indexes(events: list[RunEvent]) -> list[int]:
    return sorted(each.job.index for each in events if isinstance(each, RecordingWritten))


def failed_errors(events: list[RunEvent]) -> dict[int, str]:
    return {each.job.index: str(each.error) for each in events if isinstance(each, FileFailed)}


def test_all_jobs_are_done_reported_and_counted_by_worker(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 2.5, 1.0, 0.5, 3.0, 0.5])
    loaded: list[int] = []
    events, driver = drive(
        jobs,
        ThreadWorkerPool(make_worker_config()),
        on_first_load=lambda: loaded.append(1),
    )
    assert done_indexes(events) == list(range(6))
    words = (tmp_path / "out" / "talk1.txt").read_text(encoding="utf-8").split()
    assert sum(map(int, words[::2])) == 2.5 * 16_000
    assert sum(isinstance(each, FileStarted) for each in events) == 6
    assert sum(isinstance(each, ChunkDone) for each in events) == 11
    assert loaded == [1]
    stats = driver.registry.stats()
    assert sum(each["done"] for each in stats) == 6
    assert sum(each["seconds"] for each in stats) == pytest.approx(8.0)


def test_a_notice_of_two_workers_is_given_once(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 4)
    notices: list[str] = []
    backend = ScriptedBackend(lambda request: "said", max_chunk_seconds=60.0)
    config = make_worker_config(make_task=summarize_task, backend=backend)
    drive(jobs, ThreadWorkerPool(config), on_notice=notices.append)
    [notice] = notices
    assert "in parts of at most 1:00" in notice


def test_finished_recordings_are_not_repeated(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 1.5])
    first, _ = drive(jobs, ThreadWorkerPool(make_worker_config()))
    (tmp_path / "out" / "talk1.txt").unlink()
    events, _ = drive(
        jobs, ThreadWorkerPool(make_worker_config(partial(crash_on_demand, tmp_path)))
    )
    assert recorded_requests(tmp_path) == []
    written = {each.job.index: each for each in events if isinstance(each, RecordingWritten)}
    assert [written[index].is_new for index in (0, 1)] == [False, False]
    assert [len(written[index].written) for index in (0, 1)] == [0, 1]
    assert {each.text for each in first if isinstance(each, RecordingWritten)} == {
        each.text for each in written.values()
    }


def test_fresh_ignores_earlier_runs_but_keeps_answers_of_this_run(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [3.0])
    drive(jobs, ThreadWorkerPool(make_worker_config()))

    def answer(request: Request) -> str:
        text = crash_on_demand(tmp_path, request)
        if (
            recorded_requests(tmp_path)[-1] == (0, 2)
            and recorded_requests(tmp_path).count((0, 2)) == 1
        ):
            raise RuntimeError("once")
        return text

    events, _ = drive(
        jobs, ThreadWorkerPool(make_worker_config(answer, fresh=True)), WorkerCount(1, 1)
    )
    assert done_indexes(events) == [0]
    assert recorded_requests(tmp_path) == [(0, 0), (0, 1), (0, 2), (0, 2), (0, 3)]


def test_a_recording_that_crashes_workers_is_isolated(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 8)
    (tmp_path / "break-2").touch()
    pool = ThreadWorkerPool(make_worker_config(partial(crash_on_demand, tmp_path)))
    notices: list[str] = []
    events, _ = drive(jobs, pool, on_notice=notices.append)
    assert done_indexes(events) == [0, 1, 3, 4, 5, 6, 7]
    assert f"{MAX_CRASHES} workers" in failed_errors(events)[2]
    assert "recording 2 is poison" in failed_errors(events)[2]
    assert "talk2.wav" in failed_errors(events)[2]
    counted = Counter(job for job, _ in recorded_requests(tmp_path))
    assert counted == {index: MAX_CRASHES if index == 2 else 1 for index in range(8)}
    assert len([line for line in notices if "is lost" in line]) == MAX_CRASHES


def test_a_failed_recording_does_not_end_its_worker(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5, 0.5])
    jobs[0].source.write_bytes(b"no audio")
    pool = ThreadWorkerPool(make_worker_config())
    events, driver = drive(jobs, pool, WorkerCount(1, 1))
    assert done_indexes(events) == [1]
    assert "talk0.wav" in failed_errors(events)[0]
    assert pool.started == ["worker 1"]
    assert driver.registry.stats()[0]["failed"] == 1


def test_chunks_of_long_recordings_do_not_lease_more_recordings(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [10.0] * 40)
    (tmp_path / "slow").write_text("0.002")
    queue = WorkQueue(jobs)
    driver = Driver(
        queue,
        ThreadWorkerPool(make_worker_config(partial(crash_on_demand, tmp_path))),
        TWO,
        lambda: False,
    )
    most = 0
    for _ in driver.events():
        most = max(most, *(queue.num_leased(name) for name in driver.registry.workers), 0)
    assert most <= 2 * MAX_QUEUED_JOBS, (
        "queued recordings, and those that are read or wait for answers"
    )


def test_number_of_workers_is_limited_by_recordings_and_option(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 2)
    pool = ThreadWorkerPool(make_worker_config())
    drive(jobs, pool, WorkerCount(5, 5))
    assert len(pool.started) == 2
    (tmp_path / "slow").write_text("0.05")
    jobs = make_jobs(tmp_path, [0.6] * 30)
    pool = ThreadWorkerPool(make_worker_config(partial(crash_on_demand, tmp_path)))
    events, _ = drive(jobs, pool, WorkerCount(1, 3))
    assert done_indexes(events) == list(range(30))
    assert pool.max_running == 3, "more workers start while recordings wait"


def test_a_model_load_failure_ends_the_run_and_names_the_worker(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("phi4audio_cli.session.find_model", lambda *_: tmp_path)

    def refuse(*_: object) -> None:
        raise CheckpointError("a tensor is missing", "model.safetensors", "download it again")

    monkeypatch.setattr("phi4audio_cli.session.load_backend", refuse)
    pool = ThreadWorkerPool(make_worker_config(backend=None))
    with pytest.raises(CheckpointError, match=r"model.safetensors \(worker \d on .*\): a tensor"):
        drive(make_jobs(tmp_path, [0.5]), pool)
    assert len(pool.started) == 1


def test_a_fault_that_every_worker_has_ends_the_run(tmp_path: Path) -> None:
    def break_always(request: Request) -> str:
        raise TypeError("a bug")

    jobs = make_jobs(tmp_path, [0.5] * 9)
    pool = ThreadWorkerPool(make_worker_config(break_always))
    with pytest.raises(ModelError, match="TypeError: a bug"):
        drive(jobs, pool)
    assert len(pool.started) <= MAX_FAILURES_WITHOUT_PROGRESS + 1


def test_workers_that_fail_to_start_end_the_run(tmp_path: Path, monkeypatch) -> None:
    def crash(session: Session) -> str:
        raise OSError("no such device")

    monkeypatch.setattr(Session, "fingerprint", crash)
    with pytest.raises(ModelError, match="OSError: no such device"):
        drive(
            make_jobs(tmp_path, [0.5] * 9),
            ThreadWorkerPool(make_worker_config()),
        )


def test_a_worker_with_another_model_is_refused(tmp_path: Path, monkeypatch) -> None:
    models = iter(["one", "another"])
    monkeypatch.setattr(Session, "fingerprint", lambda session: next(models))
    made = make_worker_config()
    with pytest.raises(ModelError, match="differs from the other workers' model"):
        drive(make_jobs(tmp_path, [0.5] * 9), ThreadWorkerPool(made))


def test_a_locked_recording_is_retried_unless_the_folder_is_shared(
    tmp_path: Path, monkeypatch
) -> None:
    jobs = make_jobs(tmp_path, [0.5, 0.5])
    held = LocalJournal.open_exclusive(journal_path(jobs[0], "Transcribe"))  # type: ignore[arg-type]
    assert held is not None
    events, _ = drive(jobs, ThreadWorkerPool(make_worker_config()), wait_for_locks=False)
    assert done_indexes(events) == [1]
    assert "another job works on it" in failed_errors(events)[0]
    monkeypatch.setattr("phi4audio_cli.cluster.work_queue.LOCK_RETRY_SECONDS", 0.05)
    threading.Timer(0.5, held.close).start()
    events, _ = drive(jobs, ThreadWorkerPool(make_worker_config()))
    assert done_indexes(events) == [0, 1]


def test_missing_capacity_is_reported_and_ready_workers_start(
    tmp_path: Path,
) -> None:
    class Full(ThreadWorkerPool):
        def start(self) -> str:
            name = super().start()
            if len(self.started) > 1:
                self._open_calls = {call: of for call, of in self._open_calls.items() if of != name}
            return name

    clock = itertools.count(0, 10)
    notices: list[str] = []
    jobs = make_jobs(tmp_path, [0.5] * 8)
    events, _ = drive(
        jobs, Full(make_worker_config()), on_notice=notices.append, now=lambda: float(next(clock))
    )
    assert done_indexes(events) == list(range(8))
    assert [line for line in notices if "wait for resources" in line] == [
        "1 of 2 workers wait for resources of the cluster (ray status shows their use)"
    ]


def test_on_cancel_running_batches_finish_and_no_job_starts(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 20)
    stopped: list[bool] = []
    pool = ThreadWorkerPool(make_worker_config())
    driver = Driver(WorkQueue(jobs), pool, WorkerCount(2, 2), lambda: bool(stopped))
    events = []
    for each in driver.events():
        events.append(each)
        stopped.append(True)
    assert 1 <= len(done_indexes(events)) < 20
    assert not pool._workers
    rest, _ = drive(jobs, ThreadWorkerPool(make_worker_config()))
    assert done_indexes(rest) == list(range(20))
