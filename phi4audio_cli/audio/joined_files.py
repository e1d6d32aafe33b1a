"""Files that were joined byte by byte, and chained Ogg streams: where each part begins.

Decoders stop at the end of the first part. MP3, AAC and MPEG-TS need no division: their decoders
read to the end of the file.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import BinaryIO

from phi4audio_cli.audio.containers import (
    OGG_MAGIC,
    find_bytes,
    mp4_boxes,
    ogg_pages,
    restored_position,
)

MAX_PARTS = 10_000
"""Most parts of a file; more mean damage that looks like beginnings."""

FLAC_MAGIC = b"fLaC"
EBML_MAGIC = b"\x1a\x45\xdf\xa3"
SIZED_MAGICS = (b"RIFF", b"RF64", b"FORM", b"riff")
"""Beginnings of files that declare their length."""


class FileRange(io.RawIOBase):
    """A part of a file as a file of its own, without a copy.

    Args:
        file: The whole file.
        start: Offset of the first byte.
        stop: Offset after the last byte.
    """

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self._length = stop - start
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read bytes into a buffer, and return their number."""
        view = memoryview(buffer)[: max(0, self._length - self._position)]  # type: ignore[arg-type]
        self._file.seek(self._start + self._position)
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]
        self._position += count
        return count

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position within the part, and return it."""
        position = offset + (0, self._position, self._length)[whence]
        if position < 0:
            raise ValueError(f"negative position {position}")
        self._position = position
        return position

    def tell(self) -> int:
        """Return the position within the part."""
        return self._position


def split_joined(file: BinaryIO) -> list[BinaryIO]:
    """Return the parts of a joined file in order; the file itself if it is not joined.

    Args:
        file: The file; its position does not change.
    """
    with restored_position(file):
        length = file.seek(0, 2)
        file.seek(0)
        later = _later_starts(file, file.read(12), length)
        starts = [0, *itertools.islice(later, MAX_PARTS)]
    if not 1 < len(starts) <= MAX_PARTS:
        return [file]
    ranges = zip(starts, [*starts[1:], length], strict=True)
    return [io.BufferedReader(FileRange(file, start, stop)) for start, stop in ranges]


def _later_starts(file: BinaryIO, head: bytes, length: int) -> Iterator[int]:
    if head.startswith(OGG_MAGIC):
        return _ogg_starts(file)
    if head[:4] in SIZED_MAGICS:
        return _sized_starts(file, head, length)
    if head.startswith(FLAC_MAGIC):
        return _flac_starts(file, length)
    if head[4:8] == b"ftyp":
        return _mp4_starts(file, length)
    if head.startswith(EBML_MAGIC):
        return _matroska_starts(file, length)
    return iter(())


def _ogg_starts(file: BinaryIO) -> Iterator[int]:
    """Yield the offsets of first pages that follow other pages: each begins a chained stream."""
    after_first_pages = False  # the first pages of multiplexed streams stand together
    for page in ogg_pages(file):
        if page.begins_stream and page.intact and after_first_pages:
            yield page.start
        after_first_pages = not page.begins_stream


def _sized_starts(file: BinaryIO, head: bytes, length: int) -> Iterator[int]:
    """Yield the offsets of later WAV, AVI, AIFF or Wave64 headers right after the declared end."""
    kind, position = head[8:12], 0
    while size := _declared_length(file, position):
        position += size
        if position + 12 > length:
            return
        file.seek(position)
        following = file.read(12)
        if following[:4] not in SIZED_MAGICS or following[8:] != kind:
            return
        yield position


def _declared_length(file: BinaryIO, position: int) -> int:
    """Return the bytes of a file by its header; 0 if it declares none."""
    file.seek(position)
    head = file.read(28)
    if head.startswith(b"riff"):  # Wave64: the size includes the header
        return int.from_bytes(head[16:24], "little")
    if head.startswith(b"RF64"):
        size = int.from_bytes(head[20:28], "little") if head[12:16] == b"ds64" else 0
    else:
        size = int.from_bytes(head[4:8], "big" if head.startswith(b"FORM") else "little")
    return 8 + size + size % 2 if size else 0


def _flac_starts(file: BinaryIO, length: int) -> Iterator[int]:
    """Yield the offsets of later FLAC headers, with their STREAMINFO block of 34 bytes."""
    position = 4
    while (position := find_bytes(file, FLAC_MAGIC, position, length)) < length:
        file.seek(position + 4)
        block = file.read(4)
        if block[:1] in (b"\x00", b"\x80") and block[1:] == b"\x00\x00\x22":
            yield position
        position += 4


def _mp4_starts(file: BinaryIO, length: int) -> Iterator[int]:
    """Yield the offsets of later file type boxes."""
    start = 0
    for kind, stop in mp4_boxes(file, length):
        if kind == b"ftyp" and start:
            yield start
        start = stop


def _matroska_starts(file: BinaryIO, length: int) -> Iterator[int]:
    """Yield the offsets of EBML headers right after a segment whose size is known."""
    position = 0
    while True:
        for _ in range(2):  # the EBML header, and the segment
            file.seek(position)
            size = _ebml_element_bytes(file.read(12))
            if size is None:
                return
            position += size
            if position >= length:  # a damaged size may be beyond any file system
                return
        file.seek(position)
        if file.read(4) != EBML_MAGIC:
            return
        yield position


def _ebml_element_bytes(head: bytes) -> int | None:
    """Return the bytes of an element with a four-byte identifier; None if its size is unknown."""
    if len(head) < 12 or not head[4]:
        return None
    width = 9 - head[4].bit_length()
    digits = 7 * width
    size = int.from_bytes(head[4 : 4 + width], "big") & ((1 << digits) - 1)
    return None if size == (1 << digits) - 1 else 4 + width + size
