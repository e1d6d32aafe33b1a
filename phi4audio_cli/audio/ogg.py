"""Whether an Ogg file is whole; its decoders end where it ends, and say nothing."""

from __future__ import annotations

from typing import BinaryIO

MAGIC = b"OggS\0"
"""Begins a page; the last byte is the version, of which there is one."""

HEAD = 27
"""Bytes of a page's header before its table, whose length is the last of them."""

LONGEST_PAGE = HEAD + 255 + 255 * 255
"""Bytes: header, a table of 255 segments, and segments of 255 bytes."""


def ends_inside_page(file: BinaryIO) -> bool:
    """Return whether an Ogg file ends within a page, so that some of it is certainly missing.

    A stream that merely lacks its end mark is no sign of damage: not every recorder writes one.

    Args:
        file: At any place; stays there.
    """
    place = file.tell()
    try:
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            return False
        file.seek(max(0, file.seek(0, 2) - LONGEST_PAGE))
        tail = file.read()
    finally:
        file.seek(place)
    start = tail.rfind(MAGIC)
    return start >= 0 and not _is_whole(tail[start:])


def _is_whole(page: bytes) -> bool:
    if len(page) < HEAD:
        return False
    table = page[HEAD : HEAD + page[HEAD - 1]]
    return len(page) >= HEAD + page[HEAD - 1] + sum(table)
