"""Resident memory of this process, from /proc."""

from __future__ import annotations

from pathlib import Path


def resident(field: str) -> int:
    """Return resident memory in bytes.

    Args:
        field: `VmRSS`, the memory now, or `VmHWM`, the peak; both include mapped files.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise SystemExit("this benchmark reads /proc, which this system doesn't have")
