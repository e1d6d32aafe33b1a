"""The number of workers, and the resources of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi4audio_cli.audio.subprocess_reader import MAX_READERS
from phi4audio_cli.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """How many workers are wanted."""

    minimum: int
    maximum: int

    @classmethod
    def parse(cls, text: str) -> WorkerCount:
        """Read `4` or `2:16`.

        Raises:
            UsageError: It is something else.
        """
        match = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", text.strip())
        if match:
            least, most = int(match[1]), int(match[2] or match[1])
            if 1 <= least <= most:
                return cls(least, most)
        raise UsageError(
            f"{text!r} is no number of workers", "--workers", "write 4, or 2:16 for 2 to 16"
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    id: str
    name: str
    cpus: int
    gpus: int

    @classmethod
    def from_ray(cls, entry: Mapping[str, Any]) -> Node:
        """Read what Ray tells of a machine."""
        has = entry.get("Resources", {})
        name = entry.get("NodeManagerHostname") or entry["NodeManagerAddress"]
        return cls(entry["NodeID"], name, int(has.get("CPU", 0)), int(has.get("GPU", 0)))


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What each worker gets."""

    uses_gpu: bool
    num_threads: int
    """For the network, where it runs on the processor."""
    num_readers: int | None
    """Recordings it reads at once; None: as the settings say."""

    @property
    def ray_options(self) -> dict[str, float]:
        """What Ray sets aside for it."""
        return {"num_gpus": 1, "num_cpus": 1} if self.uses_gpu else {"num_cpus": self.num_threads}

    def max_workers_on(self, node: Node) -> int:
        """Return how many such workers a machine has room for."""
        if self.uses_gpu:
            return min(node.gpus, node.cpus)
        return node.cpus // self.num_threads


def allocate(
    nodes: Sequence[Node],
    requested: WorkerCount | None,
    device: str,
    *,
    cpu_default: int | None = None,
) -> tuple[WorkerCount, WorkerResources]:
    """Decide how many workers there are, and what each gets.

    One worker a GPU. Without GPUs one a machine, and its cores are divided among its workers.

    Args:
        nodes: Of the cluster.
        requested: What was asked for; None: the usual.
        device: As in the settings.
        cpu_default: Workers without GPUs, where nobody asks; None: one a machine.

    Raises:
        ModelError: No GPU, where one was asked for.
        UsageError: More workers than devices, or a device that Ray can't choose.
    """
    kind, _, number = device.partition(":")
    if number:
        remedy = "give --device cuda: every worker gets a GPU of its own"
        raise UsageError("which GPU a worker has is for the cluster to say", "--device", remedy)
    gpus = sum(node.gpus for node in nodes)
    if kind == "cuda" and not gpus:
        raise ModelError("the cluster has no GPU", "--device cuda", "leave it out, or add machines")
    if gpus and kind in ("auto", "cuda"):
        return _allocate_gpus(nodes, requested, gpus)
    return _allocate_cpus(nodes, requested, cpu_default or sum(node.cpus > 0 for node in nodes))


def _allocate_gpus(
    nodes: Sequence[Node], requested: WorkerCount | None, gpus: int
) -> tuple[WorkerCount, WorkerResources]:
    workers = requested or WorkerCount(gpus, gpus)
    if workers.minimum > gpus:
        raise _too_many_workers_error(workers, f"{gpus} GPUs")
    cores = min(node.cpus // node.gpus for node in nodes if node.gpus)
    return workers, WorkerResources(True, max(cores, 1), max(1, min(MAX_READERS, cores - 1)))


def _allocate_cpus(
    nodes: Sequence[Node], requested: WorkerCount | None, default: int
) -> tuple[WorkerCount, WorkerResources]:
    workers = requested or WorkerCount(default, default)
    for threads in range(max((node.cpus for node in nodes), default=0), 0, -1):
        share = WorkerResources(False, threads, None)
        if sum(map(share.max_workers_on, nodes)) >= workers.minimum >= 1:
            return workers, share
    raise _too_many_workers_error(workers, f"{sum(node.cpus for node in nodes)} cores")


def _too_many_workers_error(workers: WorkerCount, available: str) -> UsageError:
    return UsageError(
        f"{workers.minimum} workers are more than the cluster has devices: {available}",
        "--workers",
        "give fewer, or add machines",
    )
