"""Bytes of samples that a header declares, and bytes that the file has.

The size in a WAV is a field of 32 bits, which recorders write at the end or now and then: it may be
too small. libsndfile reads truncated CAF, SPHERE and 8SVX files without a sign of it.
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


def declared_share(file: BinaryIO) -> float | None:
    """Return the declared bytes of samples of a CAF, SPHERE or 8SVX file over those it has.

    Args:
        file: The file; its position does not change.

    Returns:
        More than 1 for a truncated file; None for other files, and for an unknown size.
    """
    with restored_position(file):
        length = file.seek(0, 2)
        file.seek(0)
        head = file.read(1024)
        if head.startswith(b"caff"):
            data = _find_chunk(file, b"data", 8, size_bytes=8, alignment=1)
        elif head[:4] == b"FORM" and head[8:12] in (b"8SVX", b"16SV"):
            data = _find_chunk(file, b"BODY", 12, size_bytes=4, alignment=2)
        else:
            data = _sphere_data(head)
    if data is None or data[1] <= 0 or length <= data[0]:
        return None
    return data[1] / (length - data[0])


def _find_chunk(
    file: BinaryIO, name: bytes, position: int, *, size_bytes: int, alignment: int
) -> tuple[int, int] | None:
    """Return the offset and the size of a chunk's content; a size of -1 is unknown."""
    length = file.seek(0, 2)
    for _ in range(MAX_CHUNKS):
        if position >= length:  # a damaged size may be beyond any file system
            return None
        file.seek(position)
        head = file.read(4 + size_bytes)
        if len(head) < 4 + size_bytes:
            return None
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == name:
            return position + len(head), size
        if size < 0:
            return None
        position += len(head) + -(-size // alignment) * alignment
    return None


def _sphere_data(head: bytes) -> tuple[int, int] | None:
    """Return the offset and the size of the samples of an uncompressed NIST SPHERE file."""
    if not head.startswith(b"NIST_1A\n"):
        return None
    fields = {}
    for line in head.decode("ascii", "replace").splitlines()[2:]:
        name, _, value = line.partition(" ")
        fields[name] = value.split(" ")[-1]
    if "shorten" in fields.get("sample_coding", ""):
        return None
    try:
        start = int(head[8:16])
        count, width = int(fields["sample_count"]), int(fields["sample_n_bytes"])
        return start, count * width * int(fields.get("channel_count", "1"))
    except (KeyError, ValueError):
        return None


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
    position, length = 12, file.seek(0, 2)
    for _ in range(MAX_CHUNKS):
        if position >= length:
            return None
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
