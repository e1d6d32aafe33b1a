"""Several readers side by side, each with a process of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypeAlias

from phi4audio_cli.audio.apart import ReaderApart
from phi4audio_cli.audio.reading import Reader

Count: TypeAlias = int | Literal["auto"]

MOST = 16
"""So many keep up with the fastest GPU that is known, on cores half as fast as those measured."""


class Readers:
    """Readers that work side by side; a context, which ends their processes.

    One process is started with the context, while the model is loaded; others when they are needed.

    Args:
        reader: What each of them does, in its process; it is pickled.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._all = [ReaderApart(reader)]

    def __enter__(self) -> Readers:
        self._all[0].__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._all:
            each.close()

    def several(self, count: int) -> Sequence[ReaderApart]:
        """Return so many readers."""
        missing = count - len(self._all)
        self._all += [ReaderApart(self._reader) for _ in range(missing)]
        return self._all[:count]


def reader_count(wanted: Count, device: str) -> int:
    """Return how many recordings to read at once.

    A network on the processor wants the cores itself, and one reader is many times faster. Beside
    a GPU the cores are free, but for one, which keeps the device busy.

    Args:
        wanted: A number, or `auto`.
        device: Where the network runs: `auto`, or as torch names it.
    """
    if wanted != "auto":
        return wanted
    return max(1, min(MOST, _cores() - 1)) if _is_cuda(device) else 1


def _is_cuda(device: str) -> bool:
    if device != "auto":
        return device.startswith("cuda")
    import torch

    return torch.cuda.is_available()


def _cores() -> int:
    """Return how many cores this process may use; a batch system may lend it a few only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
