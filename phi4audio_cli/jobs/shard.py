"""Shards: the part of a job for one of several machines, balanced by bytes."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Job

DEFAULT_RECORDING_BYTES = 1_000_000
"""Assumed size of recordings of unknown size, such as remote ones."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts."""

    number: int
    """From 1."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse a shard such as `3/16`.

        Raises:
            UsageError: Any other text.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if match and 1 <= int(match[1]) <= int(match[2]):
            return cls(int(match[1]), int(match[2]))
        remedy = "write 3/16 for the third of sixteen parts"
        raise UsageError(f"invalid shard {text!r}", "--shard", remedy)

    @property
    def name(self) -> str:
        """Its name in file names, such as `3-of-16`."""
        return f"{self.number}-of-{self.count}"

    def select_jobs(
        self, jobs: Sequence[Job], size: Callable[[Job], int] | None = None
    ) -> list[Job]:
        """Return the jobs of this shard, with new indexes; each job is in exactly one shard.

        Recordings are assigned by decreasing size, each to the shard with the fewest bytes: every
        machine with the same recordings computes the same shards.

        Args:
            jobs: All jobs, in the same order on every machine.
            size: Size of a job's recording in bytes; None for its size on the disk.
        """
        sizes = [(size or recording_bytes)(job) for job in jobs]
        loads = [(0, number) for number in range(1, self.count + 1)]
        selected = []
        for index in sorted(range(len(jobs)), key=lambda index: (-sizes[index], index)):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + max(sizes[index], 1), number))
            if number == self.number:
                selected.append(index)
        return [replace(jobs[old], index=new) for new, old in enumerate(sorted(selected))]


def recording_bytes(job: Job) -> int:
    """Return the size of a job's recording, or the default if it is unknown."""
    try:
        return DEFAULT_RECORDING_BYTES if job.url is not None else job.source.stat().st_size
    except OSError:
        return DEFAULT_RECORDING_BYTES
