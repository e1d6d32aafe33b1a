"""Lengths and truncation by the bytes of a container, where decoders do not report them.

A declared length is one that a container stores. FFmpeg also estimates lengths from the bit rate,
and does not say so; these must not be compared with the decoded audio.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO


@contextmanager
def restored_position(file: BinaryIO) -> Iterator[None]:
    """Restore the position of a file at the end of the context."""
    position = file.tell()
    try:
        yield
    finally:
        file.seek(position)


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
    with restored_position(file):
        length = file.seek(0, 2)
        boxes = list(mp4_boxes(file, length))
    known = bool(boxes) and boxes[0][0] in MP4_FIRST_BOXES
    return known and not any(kind == MOOV and stop <= length for kind, stop in boxes)


def mp4_boxes(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Yield the kind and the end offset of each top-level box."""
    start = 0
    for _ in range(MAX_MP4_BOXES):
        if start >= length:  # a damaged size may be beyond any file system
            return
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


def is_fragmented_mp4(file: BinaryIO) -> bool:
    """Return whether a file is an MP4 with fragments, whose times are absolute."""
    with restored_position(file):
        length = file.seek(0, 2)
        return any(kind == b"moof" for kind, _ in mp4_boxes(file, length))


def is_truncated_fragment(file: BinaryIO) -> bool:
    """Return whether a file is a fragmented MP4 that ends within a box."""
    with restored_position(file):
        length = file.seek(0, 2)
        boxes = list(mp4_boxes(file, length))
    return bool(boxes) and boxes[-1][1] > length and any(kind == b"moof" for kind, _ in boxes)


OGG_MAGIC = b"OggS\0"
"""Beginning of a page; the last byte is the only version."""

OGG_HEADER_BYTES = 27
"""Length of a page header before its segment table; its last byte is the table's length."""


@dataclass(frozen=True, slots=True)
class OggPage:
    """A page of an Ogg file."""

    start: int
    """Offset of its first byte."""
    begins_stream: bool
    """Whether it is the first page of a stream."""
    complete: bool
    """Whether the file has all of its bytes."""
    intact: bool
    """Whether it is complete and its checksum is right."""


def ogg_pages(file: BinaryIO) -> Iterator[OggPage]:
    """Yield the pages of an Ogg file, from its beginning to its end."""
    length = file.seek(0, 2)
    start = 0
    while start < length:
        file.seek(start)
        header = file.read(OGG_HEADER_BYTES + 255)
        if not header.startswith(OGG_MAGIC):
            start = find_bytes(file, OGG_MAGIC, start + 1, length)
            continue
        table_length = header[OGG_HEADER_BYTES - 1] if len(header) >= OGG_HEADER_BYTES else 255
        table = header[OGG_HEADER_BYTES : OGG_HEADER_BYTES + table_length]
        size = OGG_HEADER_BYTES + table_length + sum(table)
        file.seek(start)
        page = file.read(size)
        complete = len(page) == size
        intact = complete and _ogg_checksum(page) == page[22:26]
        yield OggPage(start, len(header) > 5 and bool(header[5] & 2), complete, intact)
        start += size if intact else len(OGG_MAGIC)


def ogg_damage(file: BinaryIO) -> str | None:
    """Describe damaged pages of an Ogg file; None without any, and for all other files.

    A stream without an end mark is intact: some recorders never write one.

    Args:
        file: The file; its position does not change.
    """
    with restored_position(file):
        file.seek(0)
        if file.read(len(OGG_MAGIC)) != OGG_MAGIC:
            return None
        damaged, last = 0, None
        for last in ogg_pages(file):
            damaged += not last.intact
    if last is None or not damaged:
        return None
    if not last.complete:
        return "cut off within an Ogg page"
    return f"{damaged} Ogg page{'s are' if damaged > 1 else ' is'} damaged"


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> bytes:
    """Return the checksum of a page, by zlib's CRC-32: Ogg has the same one with reversed bits."""
    content = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED_BITS)
    value = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big")[::-1].translate(_REVERSED_BITS)[::-1]


READ_BYTES = 1 << 20
"""Bytes that are searched at once."""


def find_bytes(file: BinaryIO, pattern: bytes, start: int, length: int) -> int:
    """Return the offset of a pattern at or after `start`; the length of the file without one."""
    while start < length:
        file.seek(start)
        block = file.read(READ_BYTES + len(pattern) - 1)
        found = block.find(pattern)
        if found >= 0:
            return start + found
        start += READ_BYTES
    return length


MP3_SEARCH_BYTES = 1 << 16
"""Bytes after the ID3 tags in which the first frame of an MP3 is searched."""

MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates in Hz by the version bits of a frame header: MPEG 1, 2 and 2.5."""


def mp3_declared_seconds(file: BinaryIO) -> float | None:
    """Return the length that the Xing, Info or VBRI header of an MP3 declares; None without one.

    Source: the header's description in the LAME and Fraunhofer documentation: a frame whose samples
    are silent holds the number of the frames after it.

    Args:
        file: The file; its position does not change.
    """
    with restored_position(file):
        file.seek(id3_length(file))
        head = file.read(MP3_SEARCH_BYTES)
    start = next((at for at in range(len(head) - 4) if _is_layer_3_header(head[at : at + 4])), None)
    if start is None:
        return None
    frame = head[start : start + 200]
    version = frame[1] >> 3 & 3
    rate = MP3_RATES[version][frame[2] >> 2 & 3]
    count = _declared_mp3_frames(frame, version)
    return count * (1152 if version == 3 else 576) / rate if count else None


def id3_length(file: BinaryIO) -> int:
    """Return the length of the ID3v2 tags at the beginning, bytes."""
    length = 0
    while True:
        file.seek(length)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return length
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
        length += 10 + size


def _is_layer_3_header(header: bytes) -> bool:
    return (
        header[0] == 0xFF
        and header[1] & 0xE6 == 0xE2
        and header[1] >> 3 & 3 in MP3_RATES
        and header[2] >> 4 not in (0, 15)
        and header[2] >> 2 & 3 != 3
    )


def _declared_mp3_frames(frame: bytes, version: int) -> int | None:
    mono = frame[3] >> 6 == 3
    side_info = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}
    xing = 4 + side_info[version == 3, mono]
    if (
        frame[xing : xing + 4] in (b"Xing", b"Info")
        and frame[xing + 7 : xing + 8]
        and frame[xing + 7] & 1
    ):
        return int.from_bytes(frame[xing + 8 : xing + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


MATROSKA_HEAD_BYTES = 1 << 16
"""Bytes in which the segment information of a Matroska file is searched."""


def matroska_declares_duration(file: BinaryIO) -> bool:
    """Return whether a Matroska or WebM file stores its length; live recordings do not.

    Args:
        file: The file; its position does not change.
    """
    with restored_position(file):
        file.seek(0)
        head = file.read(MATROSKA_HEAD_BYTES)
    info = head.find(b"\x15\x49\xa9\x66")
    for size, form in ((4, ">f"), (8, ">d")):
        mark = b"\x44\x89" + bytes([0x80 | size])
        place = head.find(mark, max(0, info))
        if info >= 0 and place >= 0 and len(head) >= place + 3 + size:
            return bool(struct.unpack_from(form, head, place + 3)[0] > 0)
    return False
