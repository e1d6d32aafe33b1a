"""Recordings whose file names script what the decoder does: crash, hang, fail, allocate.

The reader subprocess imports this module, so its imports are few.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.vad import Detector
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import AudioInfo, Channel, Chunk, Samples

BLOCK = 1000


class ScriptedRecording:
    """Performs the actions in its file name, one per block: `block-segfault.wav`."""

    def __init__(self, path: Path) -> None:
        self.info = AudioInfo(16000, 1.5)
        self.damage: str | None = None
        self._path = path

    def blocks(self) -> Iterator[Samples]:
        for number, word in enumerate(self._path.stem.split("-")):
            self.damage = word
            ACTIONS[word]()
            yield np.full(BLOCK, number, np.float32)


@contextmanager
def open_scripted(
    path: Path, *, channel: Channel = "mix", track: int | None = None
) -> Iterator[ScriptedRecording]:
    """Open a scripted recording; an action before a dot happens at opening."""
    action, _, rest = path.stem.rpartition(".")
    if action:
        ACTIONS[action]()
    yield ScriptedRecording(path.with_name(f"{rest}.wav"))


@contextmanager
def raise_arguments(
    path: Path, *, channel: Channel = "mix", track: int | None = None
) -> Iterator[ScriptedRecording]:
    """Raise an error with the given arguments."""
    raise AudioError(f"{channel} {track}", str(path), "none")
    yield ScriptedRecording(path)


def chunk_per_block(blocks: Iterable[Samples], rate: int, limit: float) -> Iterator[Chunk]:
    """Return each block as a chunk."""
    for index, each in enumerate(blocks):
        yield Chunk(index, each, rate, index * BLOCK)


def chunk_speech_without_torch(
    blocks: Iterable[Samples], rate: int, limit: float, detector: Detector
) -> Iterator[Chunk]:
    """Chunk speech, and fail if torch is loaded."""
    yield from chunk_speech(blocks, rate, limit, detector)
    torch()


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


def hang() -> None:
    time.sleep(600)


def allocate() -> None:
    hungry = [bytearray(64 << 20) for _ in range(1000)]  # 64 GB, never touched
    assert hungry


def fail() -> None:
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a library's own error")


def refuse() -> None:
    raise AudioError("too short", "a.wav", "record more")


def chatter() -> None:
    os.write(1, b"chatter on standard output\n")
    os.write(2, b"chatter on standard error\n")


def torch() -> None:
    import sys

    assert not {"torch", "transformers", "silero_vad"} & set(sys.modules)


def alone() -> None:
    from threadpoolctl import threadpool_info

    assert {each["num_threads"] for each in threadpool_info()} == {1}


def block() -> None:
    pass


ACTIONS: dict[str, Callable[[], None]] = {
    action.__name__: action
    for action in (segfault, leave, hang, allocate, fail, refuse, chatter, torch, alone, block)
}
