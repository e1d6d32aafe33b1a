"""The driver with Ray workers: processes and machines are lost, and the jobs are finished."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from phi4audio_cli.cluster.driver import Driver
from phi4audio_cli.cluster.ray_cluster import ray_session
from phi4audio_cli.cluster.work_queue import MAX_CRASHES, WorkQueue
from phi4audio_cli.cluster.worker_resources import WorkerCount, allocate
from phi4audio_cli.pipeline.output_writer import RecordingWritten, RunEvent
from phi4audio_cli.types import FileFailed, Job

from . import scripted_workers
from .conftest import RayTestCluster
from .scripted_workers import crash_on_demand, make_jobs, make_worker_config, recorded_requests

pytestmark = pytest.mark.usefixtures("reachable_cluster")


def drive(
    folder: Path, jobs: list[Job], count: int = 2, device: str = "auto"
) -> tuple[list[RunEvent], list[str]]:
    """Run jobs on workers that crash as the files in a folder say."""
    from ray import cloudpickle

    from phi4audio_cli.cluster.ray_pool import RayPool, check_versions, cluster_nodes

    notices: list[str] = []
    cloudpickle.register_pickle_by_value(scripted_workers)
    try:
        with ray_session("auto"):
            nodes = check_versions(cluster_nodes(), notices.append)
            workers, resources = allocate(nodes, WorkerCount(count, count), device)
            with closing(
                RayPool(make_worker_config(partial(crash_on_demand, folder)), resources)
            ) as pool:
                driver = Driver(
                    WorkQueue(jobs), pool, workers, lambda: False, on_notice=notices.append
                )
                return list(driver.events()), notices
    finally:
        cloudpickle.unregister_pickle_by_value(scripted_workers)


def done_indexes(events: list[RunEvent]) -> list[int]:
    return sorted(each.job.index for each in events if isinstance(each, RecordingWritten))


def test_a_killed_worker_loses_only_its_running_chunk(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, [3.0, 3.0, 3.0, 3.0])
    (tmp_path / "once-1").touch()
    events, notices = drive(tmp_path, jobs)
    assert done_indexes(events) == [0, 1, 2, 3]
    counted = Counter(recorded_requests(tmp_path))
    assert counted.total() == len(counted) + 1
    assert max(counted, key=lambda each: counted[each])[0] == 1
    assert len([line for line in notices if "is lost" in line]) == 1


def test_a_recording_that_kills_three_workers_fails_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = make_jobs(tmp_path, [0.5] * 6)
    (tmp_path / "kill-3").touch()
    events, _ = drive(tmp_path, jobs)
    assert done_indexes(events) == [0, 1, 2, 4, 5]
    [failure] = [each for each in events if isinstance(each, FileFailed)]
    assert failure.job.index == 3
    assert f"{MAX_CRASHES} workers in a row ended with this recording" in str(failure.error)
    assert Counter(job for job, _ in recorded_requests(tmp_path))[3] == MAX_CRASHES
    assert capfd.readouterr() == ("", ""), "Ray prints nothing"


def test_a_lost_node_loses_no_recording(tmp_path: Path, cluster: RayTestCluster) -> None:
    jobs = make_jobs(tmp_path, [2.0] * 8)
    (tmp_path / "slow").write_text("0.3")

    def remove_node() -> None:
        while len(recorded_requests(tmp_path)) < 4:
            time.sleep(0.05)
        cluster.remove()

    thread = threading.Thread(target=remove_node)
    thread.start()
    events, notices = drive(tmp_path, jobs)
    thread.join()
    cluster.add()
    assert done_indexes(events) == list(range(8))
    assert any("is lost" in line for line in notices)
    counted = Counter(recorded_requests(tmp_path))
    assert counted.total() <= len(counted) + 1


def test_every_worker_gets_its_own_gpu(tmp_path: Path, cluster: RayTestCluster) -> None:
    cluster.add(num_cpus=4, num_gpus=2)  # Ray does not check that they exist
    jobs = make_jobs(tmp_path, [0.5] * 6)
    (tmp_path / "slow").write_text("0.2")
    try:
        events, _ = drive(tmp_path, jobs, device="cuda")
    finally:
        cluster.remove(-1)
    assert done_indexes(events) == list(range(6))
    assert {path.read_text() for path in tmp_path.glob("asked-*")} == {"0", "1"}
