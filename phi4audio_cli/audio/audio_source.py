"""The protocol of a decoder's output, `AudioSource`, and what its implementations share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RatedFrames: TypeAlias = "tuple[int, npt.NDArray[np.float32]]"
"""Sample rate in Hz, and frames in [-1, 1] of shape (length, channels)."""

VALID_SAMPLE_RATES = range(1_000, 1_000_000)
"""Sample rates that real recordings have, Hz; others are damaged headers."""

LENGTH_TOLERANCE_SECONDS = 0.5
"""Containers round their lengths and count encoder delay, seconds."""


class NoAudioError(Exception):
    """A source can't be made from a file; the message says why."""


class NoTrackError(NoAudioError):
    """The recording has fewer audio tracks than the number asked for.

    Args:
        tracks: How many it has.
    """

    def __init__(self, tracks: int) -> None:
        self.tracks = tracks
        super().__init__(f"{tracks} audio tracks")


class AudioSource(Protocol):
    """An opened recording. It delivers all that can be decoded."""

    rate: int
    """Sample rate of the first piece, Hz."""
    channels: int
    """Of the first piece."""
    seconds: float | None
    """Length by the header; None where it doesn't say."""
    damage: str | None
    """What went wrong while decoding, known when the pieces end."""

    def frames(self) -> Iterator[RatedFrames]:
        """Yield (sample rate, float32 of shape (length, channels))."""
        ...

    def close(self) -> None:
        """Free the decoder; the file is the caller's."""
        ...


class LenientFile:
    """A file in which seeking to an impossible place fails, but raises nothing.

    soundfile and PyAV print tracebacks of what is raised while their libraries look around in a
    damaged file. It has no name either, so no extension misleads them (.raw does).
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.readinto: Any = file.readinto  # type: ignore[attr-defined]
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, and return it; -1 where there is none."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def truncation(decoded: float, expected: float | None) -> str | None:
    """Say that there was less than the header promised, both in seconds; None: there was not."""
    if expected and decoded < expected - LENGTH_TOLERANCE_SECONDS:
        return f"ends after {decoded:.1f} s of {expected:.1f} s"
    return None
