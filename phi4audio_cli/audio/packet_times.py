"""Time stamps for streams of frames without a container, so that damage keeps its length."""

from __future__ import annotations

from typing import Protocol

FLAC_SYNC = 0x3FFE
"""The first 14 bits of a FLAC frame; then follow a reserved bit and the blocking strategy."""


class PacketTimes(Protocol):
    """Gives frames their time stamps, from the packets of a stream in order."""

    def add_decoded(self, packet: bytes, length: int, rate: int) -> None:
        """Count a packet that was decoded.

        Args:
            packet: Its bytes.
            length: Samples of its frames.
            rate: Sample rate, Hz.
        """
        ...

    def add_damaged(self, packet: bytes) -> None:
        """Count a packet that could not be decoded."""
        ...

    def next_time(self, seconds: float) -> float | None:
        """Return the time stamp of the next frame, of a length in seconds; None if unknown."""
        ...


class TimesBySize:
    """The audio so far, and that of damaged packets by their size and the mean bit rate."""

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0
        self._lost_seconds = 0.0
        self._time = 0.0

    def add_decoded(self, packet: bytes, length: int, rate: int) -> None:
        """Count a packet that was decoded."""
        self._bytes += len(packet)
        self._seconds += length / rate

    def add_damaged(self, packet: bytes) -> None:
        """Count a packet that could not be decoded."""
        if self._bytes:
            self._lost_seconds += len(packet) * self._seconds / self._bytes

    def next_time(self, seconds: float) -> float:
        """Return the time stamp of the next frame, of a length in seconds."""
        time = self._time + self._lost_seconds
        self._time += seconds
        return time


class FlacTimes:
    """The numbers of frames or samples in the headers of FLAC frames."""

    def __init__(self) -> None:
        self._block_length: int | None = None
        self._time: float | None = None

    def add_decoded(self, packet: bytes, length: int, rate: int) -> None:
        """Read the number of a frame that was decoded."""
        if self._block_length is None:
            self._block_length = length  # all frames but the last are as long as the first
        number = _flac_number(packet[:16])
        is_sample_number = bool(packet[1] & 1)
        unit = 1 if is_sample_number else self._block_length
        self._time = None if number is None else number * unit / rate

    def add_damaged(self, packet: bytes) -> None:
        """Ignore a packet that could not be decoded: the next one has its number."""

    def next_time(self, seconds: float) -> float | None:
        """Return the time stamp of the frame that was decoded last."""
        return self._time


def _flac_number(head: bytes) -> int | None:
    """Return the number in a frame header, coded like a character of UTF-8; None if damaged."""
    if len(head) < 12 or int.from_bytes(head[:2], "big") >> 2 != FLAC_SYNC:
        return None
    first = head[4]
    if first < 0x80:
        return first
    count = 8 - (~first & 0xFF).bit_length()  # leading ones: bytes of the number
    if not 2 <= count <= 7 or any(byte >> 6 != 2 for byte in head[5 : 4 + count]):
        return None
    number = first & (0x7F >> count)
    for byte in head[5 : 4 + count]:
        number = number << 6 | byte & 0x3F
    return number
