"""Memory on a CPU: kept from one layer to the next, and not asked of the system each time."""

from __future__ import annotations

import ctypes
import sys

KEPT_BYTES = 256 << 20
"""Freed memory that stays with the process, at most."""

MAPPED_FROM = 32 << 20
"""Bytes from which a block comes from the system and goes back to it; glibc takes no more."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As malloc.h of glibc numbers them."""


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory; return whether it does.

    As it comes, glibc gives the activations of a layer back to the system, and the next layer's
    first touch of each page is then a page fault.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library other than glibc
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, MAPPED_FROM))
