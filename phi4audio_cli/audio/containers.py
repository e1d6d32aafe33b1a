"""Truncation that decoders do not report: MP4 without `moov`, Ogg cut within a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

MP4_FIRST_BOXES = (b"ftyp", b"mdat", b"wide", b"free", b"skip")
"""Kinds of the first box of MP4 and MOV files, other than the index itself."""

MOOV = b"moov"

MAX_MP4_BOXES = 10_000
"""Most boxes to search; fragmented files have thousands, but their index is the second."""


def is_missing_moov(file: BinaryIO) -> bool:
    """Return whether a file is an MP4 or MOV whose index is missing or cut off.

    Recorders write the index at the end, after the audio.

    Args:
        file: The file; its position does not change.
    """
    position = file.tell()
    try:
        length = file.seek(0, 2)
        boxes = list(_mp4_boxes(file, length))
    finally:
        file.seek(position)
    known = bool(boxes) and boxes[0][0] in MP4_FIRST_BOXES
    return known and not any(kind == MOOV and stop <= length for kind, stop in boxes)


def _mp4_boxes(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Yield the kind and the end offset of each top-level box."""
    start = 0
    for _ in range(MAX_MP4_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(head[8:], "big")
        elif size == 0:  # the box extends to the end of the file
            size = length - start
        yield head[4:8], start + size
        if size < 8:
            return
        start += size


OGG_MAGIC = b"OggS\0"
"""Beginning of a page; the last byte is the only version."""

OGG_HEADER_BYTES = 27
"""Length of a page header before its segment table; its last byte is the table's length."""

MAX_OGG_PAGE_BYTES = OGG_HEADER_BYTES + 255 + 255 * 255
"""Largest page: header, a table of 255 segments, and segments of 255 bytes."""


def is_truncated_ogg(file: BinaryIO) -> bool:
    """Return whether an Ogg file ends within a page, which proves that some of it is missing.

    A missing end-of-stream mark proves nothing: some recorders never write one.

    Args:
        file: The file; its position does not change.
    """
    position = file.tell()
    try:
        file.seek(0)
        if file.read(len(OGG_MAGIC)) != OGG_MAGIC:
            return False
        file.seek(max(0, file.seek(0, 2) - MAX_OGG_PAGE_BYTES))
        tail = file.read()
    finally:
        file.seek(position)
    start = tail.rfind(OGG_MAGIC)
    return start >= 0 and not _is_whole_ogg_page(tail[start:])


def _is_whole_ogg_page(page: bytes) -> bool:
    if len(page) < OGG_HEADER_BYTES:
        return False
    table = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + page[OGG_HEADER_BYTES - 1]]
    return len(page) >= OGG_HEADER_BYTES + page[OGG_HEADER_BYTES - 1] + sum(table)
