"""The number of workers and their resources."""

from __future__ import annotations

import pytest

from phi4audio_cli.cluster.worker_resources import Node, WorkerCount, WorkerResources, allocate
from phi4audio_cli.errors import ModelError, UsageError


def make_node(cpus: int, gpus: int = 0) -> Node:
    return Node(f"{cpus}-{gpus}", "machine", cpus, gpus)


@pytest.mark.parametrize(("text", "expected"), [("4", (4, 4)), ("2:16", (2, 16)), (" 1 ", (1, 1))])
def test_worker_counts_are_parsed(text: str, expected: tuple[int, int]) -> None:
    assert WorkerCount.parse(text) == WorkerCount(*expected)


@pytest.mark.parametrize("text", ["0", "-1", "3:2", "many", "2:", ":2", "", "1:2:3", "0:4"])
def test_invalid_worker_counts_are_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="--workers"):
        WorkerCount.parse(text)


def test_one_worker_per_gpu_with_an_equal_share_of_cores() -> None:
    workers, resources = allocate([make_node(16, 4), make_node(2), make_node(8, 1)], None, "auto")
    assert workers == WorkerCount(5, 5)
    assert resources == WorkerResources(uses_gpu=True, num_threads=4, num_readers=3)
    assert resources.ray_options == {"num_gpus": 1, "num_cpus": 1}
    assert [resources.max_workers_on(each) for each in (make_node(16, 4), make_node(2))] == [4, 0]


@pytest.mark.parametrize(
    ("nodes", "requested", "expected", "threads"),
    [
        ([make_node(8)], None, 1, 8),
        ([make_node(8), make_node(4)], None, 2, 4),
        ([make_node(8)], WorkerCount(3, 3), 3, 2),
        ([make_node(2), make_node(2)], WorkerCount(1, 1), 1, 2),
        ([make_node(2), make_node(2)], WorkerCount(3, 4), 3, 1),
        ([make_node(0), make_node(1), make_node(1)], None, 2, 1),
    ],
)
def test_without_gpus_the_cores_are_divided(nodes, requested, expected, threads) -> None:
    workers, resources = allocate(nodes, requested, "auto")
    assert workers.minimum == expected
    assert resources == WorkerResources(uses_gpu=False, num_threads=threads, num_readers=None)
    assert sum(map(resources.max_workers_on, nodes)) >= expected


def test_device_cpu_uses_no_gpu() -> None:
    workers, resources = allocate([make_node(8, 2)], WorkerCount(4, 4), "cpu")
    assert (workers.minimum, resources.uses_gpu, resources.num_threads) == (4, False, 2)


def test_missing_devices_are_reported() -> None:
    with pytest.raises(UsageError, match=r"5 workers are more than .* devices: 4 GPUs"):
        allocate([make_node(16, 4)], WorkerCount(5, 5), "cuda")
    with pytest.raises(UsageError, match=r"3 workers are more than .* devices: 2 cores"):
        allocate([make_node(2)], WorkerCount(3, 3), "auto")
    with pytest.raises(ModelError, match="no GPU"):
        allocate([make_node(2)], None, "cuda")
    with pytest.raises(UsageError, match="--device cuda"):
        allocate([make_node(2, 2)], None, "cuda:1")


def test_maximum_may_exceed_the_current_devices() -> None:
    workers, _ = allocate([make_node(4, 2)], WorkerCount(2, 64), "auto")
    assert workers == WorkerCount(2, 64)
