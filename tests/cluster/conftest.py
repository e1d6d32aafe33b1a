"""A real cluster of several nodes on this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from phi4audio_cli.cluster.ray_cluster import LOCAL_ENV, OBJECT_STORE_BYTES, QUIET_ENV

# Ray reads them when it is imported.
os.environ.update(QUIET_ENV | LOCAL_ENV)


class RayTestCluster:
    """A cluster: a head without resources, and nodes with a processor each."""

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

    def remove(self, which: int = 0) -> None:
        """Take a node away, the oldest as a rule, without a word."""
        self.cluster.remove_node(self.nodes.pop(which), allow_graceful=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayTestCluster]:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = RayTestCluster(2)
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def joinable(cluster: RayTestCluster, monkeypatch: pytest.MonkeyPatch) -> RayTestCluster:
    """Let `--cluster auto` find the cluster."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    warnings.simplefilter("ignore")
    return cluster
