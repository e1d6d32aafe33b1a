"""The subprocess of a `SubprocessReader`, and the protocol between the two processes.

Native decoders may crash, hang or exhaust memory in this process alone. The first message from the
parent is the reader; each later message gets one reply. `ReadRequest` opens a recording; the reply
is its `AudioInfo`. `NextProgress` continues it; the reply is a `ReadProgress`: a chunk, a progress
update, or the end. An `AudioError` may replace either reply. `CancelRecording` closes the recording
at any point; the reply is None.
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

DECODER_FAILED = "the decoder failed with"
"""Beginning of the message for an unexpected exception of a decoder."""

OUT_OF_MEMORY = "decoding it takes too much memory"
CONVERT_REMEDY = "convert it with another program"


@dataclass(frozen=True, slots=True)
class NextProgress:
    """Asks for the next `ReadProgress` of the open recording."""


@dataclass(frozen=True, slots=True)
class CancelRecording:
    """Closes the open recording, if any."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadProgress:
    """Progress since the previous reply."""

    chunk: Chunk | None
    seconds: float
    """Length of the audio decoded so far."""
    damage: str | None
    """Damage found so far."""
    audible_seconds: float
    """Length of the audio decoded so far that is not silence."""
    ended: bool = False
    """Whether the recording has no further chunks."""


Reply: TypeAlias = AudioInfo | ReadProgress | AudioError


class _CancelledError(BaseException):
    """The recording was cancelled. A `BaseException`, so that no library catches it."""


def run_worker(connection: Connection, memory_limit: int) -> None:
    """Serve requests until the parent closes the connection.

    Args:
        connection: Connection to the parent; None is sent on it when the process is ready.
        memory_limit: Memory that decoding may take beyond the current size, bytes.
    """
    _init_process()
    _limit_memory(memory_limit)
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the connection
        connection.send(None)
        reader: Reader = connection.recv()
        while True:
            _serve_request(connection, reader, connection.recv())


def _serve_request(connection: Connection, reader: Reader, request: ReadRequest) -> None:
    channel = _ReplyChannel(connection)
    with contextlib.suppress(_CancelledError):
        _send_replies(reader, request, channel)
        channel.wait_for_request()
    send_message(connection, None)


class _ReplyChannel:
    """Sends each reply when it is requested; the next one is computed meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reply_requested = True

    def wait_for_request(self) -> None:
        """Wait until the next reply is requested.

        Raises:
            _CancelledError: The parent cancels the recording.
        """
        if not self._reply_requested and isinstance(self._connection.recv(), CancelRecording):
            raise _CancelledError
        self._reply_requested = True

    def send(self, reply: Reply) -> None:
        """Send a reply as soon as it is requested."""
        self.wait_for_request()
        send_message(self._connection, reply)
        self._reply_requested = False


def _send_replies(reader: Reader, request: ReadRequest, channel: _ReplyChannel) -> None:
    path = str(request.path)
    try:
        for reply in _replies(reader, request, channel):
            channel.send(reply)
    except AudioError as error:
        channel.send(error)
    except MemoryError:
        channel.send(AudioError(OUT_OF_MEMORY, path, CONVERT_REMEDY))
    except Exception as error:  # exceptions of libraries may not be picklable
        message = f"{DECODER_FAILED} {type(error).__name__}: {error}"
        channel.send(AudioError(message, path, CONVERT_REMEDY))


def _replies(
    reader: Reader, request: ReadRequest, channel: _ReplyChannel
) -> Iterator[AudioInfo | ReadProgress]:
    opened: list[Reading] = []

    def report_progress() -> None:  # resets the parent's time limit while a chunk grows
        for each in opened:
            channel.send(_progress(each))

    with reader.read(request, report_progress) as reading:
        yield reading.info
        opened.append(reading)
        for chunk in reading.chunks():
            yield _progress(reading, chunk)
        yield _progress(reading, ended=True)


def _progress(reading: Reading, chunk: Chunk | None = None, *, ended: bool = False) -> ReadProgress:
    return ReadProgress(chunk, reading.seconds, reading.damage, reading.audible_seconds, ended)


def _init_process() -> None:
    """Silence output, use one thread, ignore SIGINT, and exit with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libmpg123 and FFmpeg print messages
        os.dup2(devnull, stream)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Imported before the memory limit is set, so that it does not count them.
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # other readers and the network need the cores


def _exit_with_parent() -> None:
    # A hanging decoder would not notice the closed connection.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _limit_memory(extra_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    import psutil

    with contextlib.suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(
            resource.RLIMIT_AS, (psutil.Process().memory_info().vms + extra_bytes, hard)
        )


DIRECT = hasattr(os, "readv")
"""Whether arrays are read from and written to the connection's file directly; not on Windows."""


def send_message(connection: Connection, message: object) -> None:
    """Send a message, followed by its arrays without a copy."""
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
        connection: Connection whose other side uses `send_message`.
        wait_readable: Waits for data, and raises an exception if none arrives.

    Raises:
        EOFError: The other side closed the connection.
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
