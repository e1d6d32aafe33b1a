"""Data-parallel training in several single-threaded processes.

One thread per process and one exchange per step lose far less time on a busy machine than threads
that wait for each other at every operation.
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
    """Runs `work(*arguments)` in so many processes that know each other.

    Args:
        work: what every member does.
        size: how many members.
        meeting: a file that does not exist yet, where they find each other.
        arguments: for `work`.
    """
    meeting.unlink(missing_ok=True)
    team = (size, meeting, work, arguments)
    multiprocessing.spawn(_run_member, args=team, nprocs=size)  # type: ignore[attr-defined, no-untyped-call]


def _run_member(
    rank: int, size: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Joins the team and does the work."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=size
    )
    work(*arguments)
    distributed.destroy_process_group()


def rank() -> int:
    """Returns this process's number; 0 is the one that saves and exports."""
    return distributed.get_rank()


def barrier() -> None:
    """Waits until every member is here."""
    distributed.barrier()


def world_size() -> int:
    """Returns how many processes there are."""
    return distributed.get_world_size()


def all_reduce_gradients(module: nn.Module, number: float) -> float:
    """Averages the gradients over the team, and a number along with them; returns that number."""
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
    """Yields what a source yields, made in another process so many items ahead."""
    loader = DataLoader(
        source,
        batch_size=None,
        num_workers=1,
        prefetch_factor=ahead,
        multiprocessing_context="fork",  # shares the memory of the bank of recordings
    )
    return iter(loader)
