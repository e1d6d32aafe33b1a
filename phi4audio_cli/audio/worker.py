"""The process that reads: native decoders may crash, hang or fill the memory here alone.

The first message from the other side is the reader. Each one after it gets one reply. A `Wanted`
opens a recording: its `AudioInfo` comes back. `NEXT` gives a `Delivery`: a chunk, the news that
another block was decoded, or the end. An error may come in the place of either. `LEAVE` ends the
recording, wherever it is, and is confirmed with None.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import TypeAlias

from phi4audio_cli.audio.reading import Reader, Reading, Wanted
from phi4audio_cli.audio.wire import send
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Chunk

NEXT = "next"
LEAVE = "leave"

FAILED = "the decoder failed with"
"""How an error begins that a decoder should not raise."""

NO_MEMORY = "decoding it takes too much memory"
REMEDY = "convert it with another program"


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """What came of a recording since the last one."""

    chunk: Chunk | None
    seconds: float
    """How much is decoded so far."""
    damage: str | None
    ended: bool = False


Reply: TypeAlias = AudioInfo | Delivery | AudioError


class _LeftError(BaseException):
    """Nobody wants the recording any more; no library's `except Exception` may catch it."""


def serve(connection: Connection, memory: int) -> None:
    """Read what is ordered, until the other side is gone.

    Args:
        connection: To who orders; it first gets None, when all is ready.
        memory: How much the process may take beyond what it has now, bytes.
    """
    _settle()
    _limit_memory(memory)
    with contextlib.suppress(EOFError, OSError):  # the other side is gone
        connection.send(None)
        reader: Reader = connection.recv()
        while True:
            _do(connection, reader, connection.recv())


def _do(connection: Connection, reader: Reader, wanted: Wanted) -> None:
    told = _Teller(connection)
    with contextlib.suppress(_LeftError):
        _read(reader, wanted, told)
        told.wait()
    send(connection, None)


class _Teller:
    """Sends each reply when it is asked for; the next one is worked out meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked = True

    def wait(self) -> None:
        """Wait until the next reply is asked for.

        Raises:
            _LeftError: None is wanted.
        """
        if not self._asked and self._connection.recv() == LEAVE:
            raise _LeftError
        self._asked = True

    def tell(self, reply: Reply) -> None:
        self.wait()
        send(self._connection, reply)
        self._asked = False


def _read(reader: Reader, wanted: Wanted, told: _Teller) -> None:
    where = str(wanted.path)
    try:
        for reply in _replies(reader, wanted, told):
            told.tell(reply)
    except AudioError as error:
        told.tell(error)
    except MemoryError:
        told.tell(AudioError(NO_MEMORY, where, REMEDY))
    except Exception as error:  # an exception of a library might not pickle
        what = f"{FAILED} {type(error).__name__}: {error}"
        told.tell(AudioError(what, where, REMEDY))


def _replies(reader: Reader, wanted: Wanted, told: _Teller) -> Iterator[AudioInfo | Delivery]:
    opened: list[Reading] = []

    def still_here() -> None:  # however long no chunk ends
        for each in opened:
            told.tell(Delivery(None, each.seconds, each.damage))

    with reader.read(wanted, still_here) as reading:
        yield reading.info
        opened.append(reading)
        for chunk in reading.chunks():
            yield Delivery(chunk, reading.seconds, reading.damage)
        yield Delivery(None, reading.seconds, reading.damage, ended=True)


def _settle() -> None:
    """Be quiet, compute with one thread, leave Ctrl-C to the other process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libmpg123 and FFmpeg write there
        os.dup2(nowhere, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What will be needed counts as memory that the process has.
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # there are other readers, and the network


def _end_with_parent() -> None:
    # A decoder that hangs would never notice the closed pipe.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _limit_memory(more: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    import psutil

    with contextlib.suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more, hard))
