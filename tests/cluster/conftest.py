"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from phi4audio_cli.cluster.ray_cluster import LOCAL_ENV, OBJECT_STORE_BYTES, QUIET_ENV

# Ray reads them on import.
os.environ.update(QUIET_ENV | LOCAL_ENV)


class RayTestCluster:
    """A cluster: a head without resources, and nodes with one core each."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        head = {
            "num_cpus": 0,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []
        for _ in range(count):
            self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, num_cpus: int = 1, num_gpus: int = 0) -> None:
        self.nodes.append(
            self.cluster.add_node(
                num_cpus=num_cpus, num_gpus=num_gpus, object_store_memory=OBJECT_STORE_BYTES
            )
        )

    def remove(self, index: int = 0) -> None:
        """Remove a node, by default the oldest, without a graceful shutdown."""
        self.cluster.remove_node(self.nodes.pop(index), allow_graceful=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with a real cluster as slow."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayTestCluster]:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = RayTestCluster(2)
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def reachable_cluster(cluster: RayTestCluster, monkeypatch: pytest.MonkeyPatch) -> RayTestCluster:
    """The cluster that `--cluster auto` finds."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    warnings.simplefilter("ignore")
    return cluster
