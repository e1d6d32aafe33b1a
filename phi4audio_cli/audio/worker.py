"""The process that decodes: native decoders may crash, hang or fill the memory here alone.

Each message from the other side gets one reply. An `Order` opens a recording: its `AudioInfo`
comes back. `NEXT` gives a `Delivery`: a block, or None at the end. An error may come in the place
of either. `LEAVE` ends the recording, wherever it is, and is confirmed with None.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from phi4audio_cli.audio.decode import OpenAudio
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Channel, Samples

NEXT = "next"
LEAVE = "leave"

FAILED = "the decoder failed with"
"""How an error begins that a decoder should not raise."""

NO_MEMORY = "decoding it takes too much memory"
REMEDY = "convert it with another program"


@dataclass(frozen=True, slots=True)
class Order:
    """A recording to open."""

    path: Path
    channel: Channel
    track: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A block of a recording, or None: its end."""

    block: Samples | None
    damage: str | None


Reply: TypeAlias = AudioInfo | Delivery | AudioError


def serve(connection: Connection, open_audio: OpenAudio, memory: int) -> None:
    """Decode what is ordered, until the other side is gone.

    Args:
        connection: To who orders; it first gets None, when all is ready.
        open_audio: How recordings are opened.
        memory: How much the process may take beyond what it has now, bytes.
    """
    _settle()
    _limit_memory(memory)
    with contextlib.suppress(EOFError, OSError):  # the other side is gone
        connection.send(None)
        while True:
            _do(connection, open_audio, connection.recv())


def _do(connection: Connection, open_audio: OpenAudio, order: Order) -> None:
    with contextlib.closing(_replies(open_audio, order)) as replies:
        reply = next(replies, None)
        asked = NEXT
        while asked == NEXT:
            connection.send(reply)
            reply = next(replies, None)  # one block ahead
            asked = connection.recv()
    connection.send(None)


def _replies(open_audio: OpenAudio, order: Order) -> Generator[Reply, None, None]:
    where = str(order.path)
    try:
        with open_audio(order.path, channel=order.channel, track=order.track) as recording:
            yield recording.info
            for block in recording.blocks():
                yield Delivery(block, recording.damage)
            yield Delivery(None, recording.damage)
    except AudioError as error:
        yield error
    except MemoryError:
        yield AudioError(NO_MEMORY, where, REMEDY)
    except Exception as error:  # an exception of a library might not pickle
        what = f"{FAILED} {type(error).__name__}: {error}"
        yield AudioError(what, where, REMEDY)


def _settle() -> None:
    """Be quiet, leave Ctrl-C to the other process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libmpg123 and FFmpeg write there
        os.dup2(nowhere, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What will be needed counts as memory that the process has.
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401


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
