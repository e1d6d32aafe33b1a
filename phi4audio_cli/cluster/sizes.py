"""How many workers, and what each of them gets of the machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi4audio_cli.audio.readers import MOST
from phi4audio_cli.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers are wanted."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> Workers:
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
    def of(cls, entry: Mapping[str, Any]) -> Node:
        """Read what Ray tells of a machine."""
        has = entry.get("Resources", {})
        name = entry.get("NodeManagerHostname") or entry["NodeManagerAddress"]
        return cls(entry["NodeID"], name, int(has.get("CPU", 0)), int(has.get("GPU", 0)))


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker gets."""

    gpu: bool
    threads: int
    """For the network, where it runs on the processor."""
    readers: int | None
    """Recordings it reads at once; None: as the settings say."""

    @property
    def resources(self) -> dict[str, float]:
        """What Ray sets aside for it."""
        return {"num_gpus": 1, "num_cpus": 1} if self.gpu else {"num_cpus": self.threads}

    def fits(self, node: Node) -> int:
        """Return how many such workers a machine has room for."""
        if self.gpu:
            return min(node.gpus, node.cpus)
        return node.cpus // self.threads


def share_out(
    nodes: Sequence[Node], wanted: Workers | None, device: str, *, default: int | None = None
) -> tuple[Workers, Share]:
    """Decide how many workers there are, and what each gets.

    One worker a GPU. Without GPUs one a machine, and its cores are divided among its workers.

    Args:
        nodes: Of the cluster.
        wanted: What was asked for; None: the usual.
        device: As in the settings.
        default: Workers without GPUs, where nobody asks; None: one a machine.

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
        return _by_gpu(nodes, wanted, gpus)
    return _by_cpu(nodes, wanted, default or sum(node.cpus > 0 for node in nodes))


def _by_gpu(nodes: Sequence[Node], wanted: Workers | None, gpus: int) -> tuple[Workers, Share]:
    workers = wanted or Workers(gpus, gpus)
    if workers.least > gpus:
        raise _too_many(workers, f"{gpus} GPUs")
    cores = min(node.cpus // node.gpus for node in nodes if node.gpus)
    return workers, Share(True, max(cores, 1), max(1, min(MOST, cores - 1)))


def _by_cpu(nodes: Sequence[Node], wanted: Workers | None, default: int) -> tuple[Workers, Share]:
    workers = wanted or Workers(default, default)
    for threads in range(max((node.cpus for node in nodes), default=0), 0, -1):
        share = Share(False, threads, None)
        if sum(map(share.fits, nodes)) >= workers.least >= 1:
            return workers, share
    raise _too_many(workers, f"{sum(node.cpus for node in nodes)} cores")


def _too_many(workers: Workers, there: str) -> UsageError:
    return UsageError(
        f"{workers.least} workers are more than the cluster has devices: {there}",
        "--workers",
        "give fewer, or add machines",
    )
