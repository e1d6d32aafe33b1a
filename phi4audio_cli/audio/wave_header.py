"""WAV files whose header declares less than they hold: interrupted recorders, more than 4 GiB.

The size of the samples is a field of 32 bits, which recorders write at the end or now and then.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from phi4audio_cli.audio.containers import restored_position

MAX_CHUNKS = 1000
"""Most chunks before the samples."""

MIN_TRAILING_BYTES = 4096
"""Fewest bytes after the samples that are taken for samples."""

UNKNOWN_SIZE = 0xFFFF_FFFF
"""Size that makes decoders read to the end of the file."""


@dataclass(frozen=True, slots=True)
class StaleHeader:
    """The size of the samples in a WAV header that is too small."""

    offset: int
    """Place of the size in the file."""
    declared: int
    """Bytes of samples by the header."""
    present: int
    """Bytes from the first sample to the end of the file."""


def stale_wave_header(file: BinaryIO) -> StaleHeader | None:
    """Return the header's size where more samples follow the declared ones; None otherwise.

    Args:
        file: The file; its position does not change.
    """
    with restored_position(file):
        length = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        data = _data_chunk(file)
        if data is None:
            return None
        start, declared = data
        stale = StaleHeader(start - 4, declared, length - start)
        trailing = stale.present - declared
        if not declared or trailing < MIN_TRAILING_BYTES:
            return None
        file.seek(start + declared)
        return None if _begins_chunk(file.read(9), trailing) else stale


def _data_chunk(file: BinaryIO) -> tuple[int, int] | None:
    """Return the offset of the first sample, and the declared bytes of samples."""
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return position + 8, size
        position += 8 + size + size % 2
    return None


def _begins_chunk(head: bytes, remaining: int) -> bool:
    """Whether a chunk begins at the first or, after a padding byte, at the second byte."""
    return any(
        head[at : at + 4].isascii()
        and head[at : at + 4].decode("ascii").isprintable()
        and int.from_bytes(head[at + 4 : at + 8], "little") <= remaining
        for at in (0, 1)
    )


def patched_file(file: BinaryIO, header: StaleHeader) -> BinaryIO:
    """Return a view of the file whose header has an unknown size of the samples."""
    return io.BufferedReader(_PatchedFile(file, header.offset, UNKNOWN_SIZE.to_bytes(4, "little")))


class _PatchedFile(io.RawIOBase):
    """A file in which some bytes are replaced while it is read."""

    def __init__(self, file: BinaryIO, offset: int, content: bytes) -> None:
        self._file = file
        self._offset = offset
        self._content = content

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        """Read bytes into a buffer, and return their number."""
        start = self._file.tell()
        view = memoryview(buffer)  # type: ignore[arg-type]
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]
        for index, byte in enumerate(self._content, start=self._offset - start):
            if 0 <= index < count:
                view[index] = byte
        return count
