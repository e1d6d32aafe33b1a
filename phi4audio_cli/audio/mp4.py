"""Whether an MP4 or MOV has its index; without it nothing in the file can be found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

FIRST = (b"ftyp", b"mdat", b"wide", b"free", b"skip")
"""What MP4 and MOV files begin with, where that is not the index itself."""

INDEX = b"moov"

MOST_BOXES = 10_000
"""Fragmented files have thousands, and theirs is the second."""


def lacks_index(file: BinaryIO) -> bool:
    """Return whether this is an MP4 or MOV whose index is missing or cut off.

    Recorders write it when they end, behind the sound.

    Args:
        file: At any place; stays there.
    """
    place = file.tell()
    try:
        length = file.seek(0, 2)
        boxes = list(_boxes(file, length))
    finally:
        file.seek(place)
    known = bool(boxes) and boxes[0][0] in FIRST
    return known and not any(kind == INDEX and stop <= length for kind, stop in boxes)


def _boxes(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Yield the outermost boxes: the kind, and the byte after the last."""
    start = 0
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # too large for four bytes
            size = int.from_bytes(head[8:], "big")
        elif size == 0:  # to the end
            size = length - start
        yield head[4:8], start + size
        if size < 8:
            return
        start += size
