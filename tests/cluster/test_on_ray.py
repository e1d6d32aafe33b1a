"""The driver with Ray's workers: processes and machines die, and the job is done."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from phi4audio_cli.cluster.connect import joined
from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.queue import DEATHS, Queue
from phi4audio_cli.cluster.sizes import Workers, share_out
from phi4audio_cli.jobs.filing import Filed, Told
from phi4audio_cli.types import FileFailed, Job

from . import scripted
from .conftest import Nodes
from .scripted import asked, end_at, make_jobs, plan

pytestmark = pytest.mark.usefixtures("joinable")


def drive(
    folder: Path, jobs: list[Job], count: int = 2, device: str = "auto"
) -> tuple[list[Told], list[str]]:
    """Do jobs with workers that look into a folder for what they are to die of."""
    from ray import cloudpickle

    from phi4audio_cli.cluster.pool import RayPool, check_versions, nodes

    notes: list[str] = []
    cloudpickle.register_pickle_by_value(scripted)
    try:
        with joined("auto"):
            machines = check_versions(nodes(), notes.append)
            workers, share = share_out(machines, Workers(count, count), device)
            with closing(RayPool(plan(partial(end_at, folder)), share)) as pool:
                driver = Driver(Queue(jobs), pool, workers, lambda: False, say=notes.append)
                return list(driver.events()), notes
    finally:
        cloudpickle.unregister_pickle_by_value(scripted)


def done(told: list[Told]) -> list[int]:
    return sorted(each.job.index for each in told if isinstance(each, Filed))


def test_a_killed_worker_costs_its_running_chunk_only(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [3.0, 3.0, 3.0, 3.0])
    (tmp_path / "once-1").touch()
    told, notes = drive(tmp_path, jobs)
    assert done(told) == [0, 1, 2, 3]
    counted = Counter(asked(tmp_path))
    assert counted.total() == len(counted) + 1
    assert max(counted, key=lambda each: counted[each])[0] == 1
    assert len([line for line in notes if "is gone" in line]) == 1


def test_a_recording_that_kills_three_workers_fails_and_the_others_are_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 6)
    (tmp_path / "kill-3").touch()
    told, _ = drive(tmp_path, jobs)
    assert done(told) == [0, 1, 2, 4, 5]
    [failure] = [each for each in told if isinstance(each, FileFailed)]
    assert failure.job.index == 3
    assert f"{DEATHS} workers in a row ended with this recording" in str(failure.error)
    assert Counter(job for job, _ in asked(tmp_path))[3] == DEATHS
    assert capfd.readouterr() == ("", ""), "Ray prints nothing of its own"


def test_a_machine_that_vanishes_costs_no_recording(tmp_path: Path, cluster: Nodes) -> None:
    jobs = make_jobs(tmp_path, [2.0] * 8)
    (tmp_path / "slow").write_text("0.3")

    def vanish() -> None:
        while len(asked(tmp_path)) < 4:
            time.sleep(0.05)
        cluster.remove()

    thread = threading.Thread(target=vanish)
    thread.start()
    told, notes = drive(tmp_path, jobs)
    thread.join()
    cluster.add()
    assert done(told) == list(range(8))
    assert any("is gone" in line for line in notes)
    counted = Counter(asked(tmp_path))
    assert counted.total() <= len(counted) + 1


def test_every_worker_gets_a_gpu_of_its_own(tmp_path: Path, cluster: Nodes) -> None:
    cluster.add(num_cpus=4, num_gpus=2)  # Ray doesn't look whether they are there
    jobs = make_jobs(tmp_path, [0.5] * 6)
    (tmp_path / "slow").write_text("0.2")
    try:
        told, _ = drive(tmp_path, jobs, device="cuda")
    finally:
        cluster.remove(-1)
    assert done(told) == list(range(6))
    assert {path.read_text() for path in tmp_path.glob("asked-*")} == {"0", "1"}
