"""Memory of this process, as the operating system counts it."""

from __future__ import annotations

import sys


def peak_memory() -> int | None:
    """Return the largest resident size of this process in bytes, mapped files included.

    Returns:
        None on Windows, which has no `getrusage`.
    """
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS: bytes; Linux: KiB
