"""Non-blocking locks on open files, released by the system when their process ends."""

from __future__ import annotations

from typing import IO

import portalocker
from portalocker import LockFlags


def try_lock(file: IO[bytes] | int, *, shared: bool = False) -> bool:
    """Lock an open file or file descriptor for this process, without waiting.

    Closing the file releases the lock.

    Args:
        file: A file, or on POSIX also the descriptor of a folder.
        shared: Whether other processes may hold a shared lock at the same time.

    Returns:
        False if another process holds a conflicting lock. True also on a file system without
        locks, where no process can be excluded.
    """
    kind = LockFlags.SHARED if shared else LockFlags.EXCLUSIVE
    try:
        portalocker.lock(file, kind | LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException:
        return True
    return True
