"""The subprocess of a `SubprocessReader`, and the messages between the two processes.

Native decoders may crash, hang or exhaust memory in this process alone. The first message from the
parent is the reader; each later message gets one reply. A `ReadRequest` opens a recording and
returns its `AudioInfo`. `NEXT` returns a `ReadProgress`: a chunk, a progress update, or the end.
An error may replace either reply. `CANCEL` ends the recording at any point and returns None.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from phi4audio_cli.audio.reader import Reader, Reading, ReadRequest
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Chunk

NEXT = "next"
CANCEL = "leave"

DECODER_FAILED = "the decoder failed with"
"""How an error begins that a decoder should not raise."""

OUT_OF_MEMORY = "decoding it takes too much memory"
CONVERT_REMEDY = "convert it with another program"


@dataclass(frozen=True, slots=True, eq=False)
class ReadProgress:
    """What came of a recording since the last one."""

    chunk: Chunk | None
    seconds: float
    """How much is decoded so far."""
    damage: str | None
    ended: bool = False


Reply: TypeAlias = AudioInfo | ReadProgress | AudioError


class _CancelledError(BaseException):
    """Nobody wants the recording any more; no library's `except Exception` may catch it."""


def run_worker(connection: Connection, memory_limit: int) -> None:
    """Read what is ordered, until the other side is gone.

    Args:
        connection: To who orders; it first gets None, when all is ready.
        memory_limit: How much the process may take beyond what it has now, bytes.
    """
    _init_process()
    _limit_memory(memory_limit)
    with contextlib.suppress(EOFError, OSError):  # the other side is gone
        connection.send(None)
        reader: Reader = connection.recv()
        while True:
            _serve_request(connection, reader, connection.recv())


def _serve_request(connection: Connection, reader: Reader, request: ReadRequest) -> None:
    told = _ReplyChannel(connection)
    with contextlib.suppress(_CancelledError):
        _send_replies(reader, request, told)
        told.wait_for_request()
    send_message(connection, None)


class _ReplyChannel:
    """Sends each reply when it is asked for; the next one is worked out meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reply_requested = True

    def wait_for_request(self) -> None:
        """Wait until the next reply is asked for.

        Raises:
            _LeftError: None is wanted.
        """
        if not self._reply_requested and self._connection.recv() == CANCEL:
            raise _CancelledError
        self._reply_requested = True

    def send(self, reply: Reply) -> None:
        self.wait_for_request()
        send_message(self._connection, reply)
        self._reply_requested = False


def _send_replies(reader: Reader, request: ReadRequest, channel: _ReplyChannel) -> None:
    where = str(request.path)
    try:
        for reply in _replies(reader, request, channel):
            channel.send(reply)
    except AudioError as error:
        channel.send(error)
    except MemoryError:
        channel.send(AudioError(OUT_OF_MEMORY, where, CONVERT_REMEDY))
    except Exception as error:  # an exception of a library might not pickle
        what = f"{DECODER_FAILED} {type(error).__name__}: {error}"
        channel.send(AudioError(what, where, CONVERT_REMEDY))


def _replies(
    reader: Reader, request: ReadRequest, channel: _ReplyChannel
) -> Iterator[AudioInfo | ReadProgress]:
    opened: list[Reading] = []

    def still_here() -> None:  # however long no chunk ends
        for each in opened:
            channel.send(ReadProgress(None, each.seconds, each.damage))

    with reader.read(request, still_here) as reading:
        yield reading.info
        opened.append(reading)
        for chunk in reading.chunks():
            yield ReadProgress(chunk, reading.seconds, reading.damage)
        yield ReadProgress(None, reading.seconds, reading.damage, ended=True)


def _init_process() -> None:
    """Be quiet, compute with one thread, leave Ctrl-C to the other process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libmpg123 and FFmpeg write there
        os.dup2(nowhere, stream)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # What will be needed counts as memory that the process has.
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # there are other readers, and the network


def _exit_with_parent() -> None:
    # A decoder that hangs would never notice the closed pipe.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _limit_memory(extra_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    import psutil

    with contextlib.suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(
            resource.RLIMIT_AS, (psutil.Process().memory_info().vms + extra_bytes, hard)
        )


DIRECT = hasattr(os, "readv")
"""Whether the system reads into an array from where a connection's bytes come; Windows does not."""


def send_message(connection: Connection, message: object) -> None:
    """Send a message, and its arrays after it."""
    arrays: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    views = [array.raw() for array in arrays]
    connection.send((body, [len(view) for view in views]))
    for view in views:
        if DIRECT:
            _write_all(connection.fileno(), view)
        else:
            connection.send_bytes(view)


def receive_message(connection: Connection, wait_readable: Callable[[], None]) -> Any:
    """Return the next message.

    Args:
        connection: To a process that `send_message`s.
        wait_readable: Waits for bytes; raises where none come.

    Raises:
        EOFError: The other process is gone.
    """
    wait_readable()
    body, sizes = connection.recv()
    arrays = [np.empty(size, np.uint8) for size in sizes]
    for array in arrays:
        if DIRECT:
            _read_into(connection.fileno(), array.data, wait_readable)
        else:
            wait_readable()
            connection.recv_bytes_into(array)
    return pickle.loads(body, buffers=arrays)


def _write_all(file: int, view: memoryview) -> None:
    while view:
        view = view[os.write(file, view) :]


def _read_into(file: int, view: memoryview, wait_readable: Callable[[], None]) -> None:
    while view:
        wait_readable()
        count = os.readv(file, [view])
        if not count:
            raise EOFError
        view = view[count:]
