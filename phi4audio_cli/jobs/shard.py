"""A part of a job for one machine of many: cut evenly by bytes, without a word between them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Job

DEFAULT_RECORDING_BYTES = 1_000_000
"""Taken for recordings whose size nobody knows yet, such as those behind a URL."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts."""

    number: int
    """From 1."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `3/16`.

        Raises:
            UsageError: It is something else.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if match and 1 <= int(match[1]) <= int(match[2]):
            return cls(int(match[1]), int(match[2]))
        raise UsageError(
            f"{text!r} is no shard", "--shard", "write 3/16 for the third of sixteen parts"
        )

    @property
    def name(self) -> str:
        """How it is called in file names."""
        return f"{self.number}-of-{self.count}"

    def select_jobs(
        self, jobs: Sequence[Job], size: Callable[[Job], int] | None = None
    ) -> list[Job]:
        """Return the jobs of this part, numbered anew; each job is in one part exactly.

        The largest recording goes to the part with the fewest bytes, and so on: every machine
        that sees the same recordings comes to the same parts.

        Args:
            jobs: All of them, in the same order everywhere.
            size: Of a job's recording, in bytes; None: as it lies on the disk.
        """
        sizes = [(size or recording_bytes)(job) for job in jobs]
        loads = [(0, number) for number in range(1, self.count + 1)]
        mine = []
        for place in sorted(range(len(jobs)), key=lambda at: (-sizes[at], at)):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + max(sizes[place], 1), number))
            if number == self.number:
                mine.append(place)
        return [replace(jobs[place], index=index) for index, place in enumerate(sorted(mine))]


def recording_bytes(job: Job) -> int:
    """Return the size of a job's recording, or what is usual where it can't be told."""
    try:
        return DEFAULT_RECORDING_BYTES if job.url is not None else job.source.stat().st_size
    except OSError:
        return DEFAULT_RECORDING_BYTES
