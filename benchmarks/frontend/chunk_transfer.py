"""Transfer of chunks between processes: pickled, received into place, or in shared memory."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from phi4audio_cli.audio.reader_worker import receive_message, send_message
from phi4audio_cli.types import WIDE_BAND, Chunk

LENGTH = 40 * WIDE_BAND


def _send_pickled(connection: Connection) -> None:
    samples = np.zeros(LENGTH, np.float32)
    while connection.recv() is not None:
        connection.send(Chunk(0, samples, WIDE_BAND, 0))
    connection.send(time.process_time())


def _send_into_place(connection: Connection) -> None:
    samples = np.zeros(LENGTH, np.float32)
    while connection.recv() is not None:
        send_message(connection, Chunk(0, samples, WIDE_BAND, 0))
    connection.send(time.process_time())


def _send_shared(connection: Connection) -> None:
    samples = np.zeros(LENGTH, np.float32)
    while (name := connection.recv()) is not None:
        memory = SharedMemory(name)
        np.ndarray(LENGTH, np.float32, memory.buf)[:] = samples
        memory.close()
        connection.send(Chunk(0, np.zeros(0, np.float32), WIDE_BAND, 0))
    connection.send(time.process_time())


def _receive_pickled(connection: Connection) -> None:
    connection.send("")
    connection.recv()


def _receive_placed(connection: Connection) -> None:
    connection.send("")
    receive_message(connection, lambda: None)


def _receive_shared(connection: Connection) -> None:
    memory = SharedMemory(create=True, size=4 * LENGTH)
    connection.send(memory.name)
    connection.recv()
    np.ndarray(LENGTH, np.float32, memory.buf).copy()
    memory.close()
    memory.unlink()


TRANSFER_METHODS = {
    "transfer": (_send_into_place, _receive_placed),
    "transfer, pickled": (_send_pickled, _receive_pickled),
    "transfer, shared memory": (_send_shared, _receive_shared),
}


def measure(way: str, chunks: int) -> float:
    """Send chunks of 40 s; return seconds of audio per second of both processes' time."""
    sender, fetch = TRANSFER_METHODS[way]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=sender, args=(theirs,), daemon=True)
    process.start()
    fetch(ours)  # the process has started
    ours.send(None)
    before = ours.recv()
    process.join()
    process = context.Process(target=sender, args=(theirs,), daemon=True)
    process.start()
    fetch(ours)
    began = time.thread_time()
    for _ in range(chunks):
        fetch(ours)
    used = time.thread_time() - began
    ours.send(None)
    used += ours.recv() - before
    process.join()
    return 40 * chunks / float(used)
