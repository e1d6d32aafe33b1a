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
    """Minimum and maximum number of workers."""

    minimum: int
    maximum: int

    @classmethod
    def parse(cls, text: str) -> WorkerCount:
        """Parse `4` or `2:16`.

        Raises:
            UsageError: Any other text.
        """
        match = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", text.strip())
        if match:
            least, most = int(match[1]), int(match[2] or match[1])
            if 1 <= least <= most:
                return cls(least, most)
        raise UsageError(
            f"invalid number of workers {text!r}", "--workers", "write 4, or 2:16 for 2 to 16"
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
        """Return a machine from its entry in `ray.nodes()`."""
        resources = entry.get("Resources", {})
        name = entry.get("NodeManagerHostname") or entry["NodeManagerAddress"]
        cpus, gpus = (int(resources.get(kind, 0)) for kind in ("CPU", "GPU"))
        return cls(entry["NodeID"], name, cpus, gpus)


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """Resources of each worker."""

    uses_gpu: bool
    num_threads: int
    """Threads of the model without a GPU."""
    num_readers: int | None
    """Recordings it reads at the same time; None for the setting."""

    @property
    def ray_options(self) -> dict[str, float]:
        """Resources that Ray reserves for it."""
        return {"num_gpus": 1, "num_cpus": 1} if self.uses_gpu else {"num_cpus": self.num_threads}

    def max_workers_on(self, node: Node) -> int:
        """Return the number of such workers that fit on a machine."""
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
    """Return the number of workers, and the resources of each.

    Each worker has one GPU. Without GPUs, each machine has one worker by default, and its workers
    share its cores evenly.

    Args:
        nodes: Machines of the cluster.
        requested: Number of workers requested by the user; None for the default.
        device: The device setting.
        cpu_default: Default number of workers without GPUs; None for one per machine.

    Raises:
        ModelError: No GPU, but the user requested it.
        UsageError: More workers than devices, or a specific GPU.
    """
    kind, _, number = device.partition(":")
    if number:
        remedy = "give --device cuda: each worker gets its own GPU"
        raise UsageError("the cluster assigns the GPU of each worker", "--device", remedy)
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
        resources = WorkerResources(False, threads, None)
        if sum(map(resources.max_workers_on, nodes)) >= workers.minimum >= 1:
            return workers, resources
    raise _too_many_workers_error(workers, f"{sum(node.cpus for node in nodes)} cores")


def _too_many_workers_error(workers: WorkerCount, available: str) -> UsageError:
    return UsageError(
        f"{workers.minimum} workers are more than the cluster has devices: {available}",
        "--workers",
        "give fewer, or add machines",
    )
