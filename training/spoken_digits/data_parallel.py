"""Data-parallel training in several single-threaded processes.

One thread per process and one exchange per step lose far less time on a busy machine than threads
that synchronize at every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed, multiprocessing, nn
from torch.utils.data import DataLoader, IterableDataset

_Item = TypeVar("_Item")


def run_processes(work: Callable[..., None], size: int, meeting: Path, *arguments: Any) -> None:
    """Run `work(*arguments)` in a process group.

    Args:
        work: The function of every process.
        size: Number of processes.
        meeting: A new file, through which the processes connect.
        arguments: Of `work`.
    """
    meeting.unlink(missing_ok=True)
    process_args = (size, meeting, work, arguments)
    multiprocessing.spawn(_run_process, args=process_args, nprocs=size)  # type: ignore[attr-defined, no-untyped-call]


def _run_process(
    rank: int, size: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Join the process group and run the work."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=size
    )
    work(*arguments)
    distributed.destroy_process_group()


def rank() -> int:
    """Return the rank of this process; rank 0 saves and exports."""
    return distributed.get_rank()


def barrier() -> None:
    """Wait for every process."""
    distributed.barrier()


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size()


def all_reduce_gradients(module: nn.Module, number: float) -> float:
    """Average the gradients, and a number, over the processes; return the average number."""
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    joined = torch.cat([*(one.flatten() for one in gradients), torch.tensor([number])])
    distributed.all_reduce(joined)
    joined /= world_size()
    start = 0
    for one in gradients:
        one.copy_(joined[start : start + one.numel()].view_as(one))
        start += one.numel()
    return float(joined[-1])


def prefetch_items(source: IterableDataset[_Item], ahead: int = 8) -> Iterator[_Item]:
    """Yield the items of a source, prefetched by another process."""
    loader = DataLoader(
        source,
        batch_size=None,
        num_workers=1,
        prefetch_factor=ahead,
        multiprocessing_context="fork",  # shares the memory of the bank of recordings
    )
    return iter(loader)
