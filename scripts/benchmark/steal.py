"""Steal: the time in which a hypervisor gave a virtual machine's processors to others."""

from __future__ import annotations

from pathlib import Path

STAT = Path("/proc/stat")
STEAL = 7
"""Its place among user, nice, system, idle, iowait, irq, softirq, steal (proc(5))."""


class Steal:
    """Watches from where it is made."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share(self) -> float:
        """Return the share of all processors' time since then; 0 where the system doesn't say."""
        spent = [now - then for now, then in zip(_ticks(), self._before, strict=True)]
        return spent[STEAL] / max(sum(spent), 1) if spent else 0.0


def _ticks() -> list[int]:
    if not STAT.exists():
        return []
    first = STAT.read_text(encoding="ascii").splitlines()[0]
    return [int(each) for each in first.split()[1 : STEAL + 2]]
