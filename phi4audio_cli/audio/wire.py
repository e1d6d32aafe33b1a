"""Messages between processes whose arrays are read into their place.

A connection alone copies an array several times, once while it holds Python's lock, for which the
network's thread would have to wait.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

DIRECT = hasattr(os, "readv")
"""Whether the system reads into an array from where a connection's bytes come; Windows does not."""


def send(connection: Connection, message: object) -> None:
    """Send a message, and its arrays after it."""
    arrays: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    views = [array.raw() for array in arrays]
    connection.send((body, [len(view) for view in views]))
    for view in views:
        if DIRECT:
            _write(connection.fileno(), view)
        else:
            connection.send_bytes(view)


def receive(connection: Connection, until_readable: Callable[[], None]) -> Any:
    """Return the next message.

    Args:
        connection: To a process that `send`s.
        until_readable: Waits for bytes; raises where none come.

    Raises:
        EOFError: The other process is gone.
    """
    until_readable()
    body, sizes = connection.recv()
    arrays = [np.empty(size, np.uint8) for size in sizes]
    for array in arrays:
        if DIRECT:
            _read(connection.fileno(), array.data, until_readable)
        else:
            until_readable()
            connection.recv_bytes_into(array)
    return pickle.loads(body, buffers=arrays)


def _write(file: int, view: memoryview) -> None:
    while view:
        view = view[os.write(file, view) :]


def _read(file: int, view: memoryview, until_readable: Callable[[], None]) -> None:
    while view:
        until_readable()
        count = os.readv(file, [view])
        if not count:
            raise EOFError
        view = view[count:]
