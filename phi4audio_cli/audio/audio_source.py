"""The `AudioSource` protocol of decoders, and the parts that its implementations share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VALID_SAMPLE_RATES = range(1_000, 1_000_000)
"""Sample rates of real recordings, Hz; any other means a damaged header."""

LENGTH_TOLERANCE_SECONDS = 0.5
"""Containers round their lengths and include encoder delay, seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Decoded audio of one sample rate and channel layout."""

    rate: int
    """Sample rate, Hz."""
    samples: npt.NDArray[np.float32]
    """Values in [-1, 1], shape (length, channels)."""
    layout: tuple[str, ...] = ()
    """FFmpeg's names of the channels (`FL`, `FR`, `FC`, `LFE`); empty if unknown."""


class NoAudioError(Exception):
    """A file cannot be decoded; the message is the reason."""


class NoTrackError(NoAudioError):
    """The recording does not have the requested audio track.

    Args:
        tracks: Number of its audio tracks.
    """

    def __init__(self, tracks: int) -> None:
        self.tracks = tracks
        super().__init__(f"{tracks} audio tracks")


class AudioSource(Protocol):
    """An opened recording. It yields everything that can be decoded."""

    rate: int
    """Sample rate of the first frames, Hz."""
    channels: int
    """Number of channels of the first frames."""
    seconds: float | None
    """Length that the container declares; None if it declares none."""
    damage: str | None
    """Damage found while decoding; complete after the last frames."""

    def frames(self) -> Iterator[Frames]:
        """Decode; to be called once. Rate and layout may change on the way."""
        ...

    def close(self) -> None:
        """Free the decoder; the file is the caller's."""
        ...


class LenientFile:
    """A file whose `seek` returns -1 for an invalid position instead of raising an exception.

    soundfile and PyAV print tracebacks of exceptions that are raised while their libraries search
    a damaged file. It has no name either, because an extension such as .raw misleads them.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.readinto: Any = file.readinto  # type: ignore[attr-defined]
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position and return it; -1 for an invalid one."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def truncation(decoded: float, expected: float | None) -> str | None:
    """Describe a truncation, if less was decoded than the header declares; lengths in seconds."""
    if expected and decoded < expected - LENGTH_TOLERANCE_SECONDS:
        return f"ends after {decoded:.1f} s of {expected:.1f} s"
    return None


def join_damage(*descriptions: str | None) -> str | None:
    """Join descriptions of damage, each once; None without any."""
    return "; ".join(dict.fromkeys(filter(None, descriptions))) or None
