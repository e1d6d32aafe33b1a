"""Places decoded frames on the time line that a player shows. Pure.

A container stores a time stamp for each packet. Audio may begin after the video, and packets may be
missing; the number of decoded samples then falls behind the time stamps. `MediaClock` says for each
frame how much silence belongs before it, as FFmpeg's `aresample=async=1` does, and how many of its
samples overlap with earlier ones. Time stamps that make no sense are ignored and reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

TOLERANCE_SECONDS = 0.1
"""Largest difference of time stamp and sample count that is not corrected; containers round."""

MAX_GAP_SECONDS = 3600.0
"""Longest gap that is filled; a larger jump of the time stamps is taken for an error."""

MAX_OVERLAP_SECONDS = 1.0
"""Longest overlap that is dropped. Audio behind a larger jump back is kept: it may be new."""

LOOKAHEAD_FRAMES = 16
"""Frames after a jump that confirm it: a jump of a few frames only is an error of their stamps."""


class FrameTime(NamedTuple):
    """Time stamp and length of a decoded frame."""

    time: float | None
    """Time stamp of its first sample, seconds; None if the container has none."""
    length: int
    """Number of its samples."""
    rate: int
    """Its sample rate, Hz."""

    @property
    def seconds(self) -> float:
        """Its length, seconds."""
        return self.length / self.rate


class Placement(NamedTuple):
    """Position of a frame relative to the audio before it, in samples."""

    silence: int
    """Samples of silence before it."""
    skip: int
    """Samples at its beginning that overlap with earlier audio."""


class MediaClock:
    """Compares time stamps with the audio so far.

    Args:
        origin: Time stamp at which the recording begins, seconds.
    """

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._position = 0.0
        """End of the audio so far, seconds from the origin."""
        self._started = False
        self._ignored_jumps = 0
        self._first_jump = ""

    @property
    def position(self) -> float:
        """End of the audio so far, silence included, in seconds."""
        return self._position

    @property
    def damage(self) -> str | None:
        """Jumps of the time stamps that were ignored; None without any."""
        if self._ignored_jumps < 2:
            return self._first_jump or None
        return f"{self._first_jump}, the first of {self._ignored_jumps} such jumps"

    def place(self, frame: FrameTime, following: Iterable[FrameTime] = ()) -> Placement:
        """Place the next frame.

        Args:
            frame: The frame.
            following: Up to `LOOKAHEAD_FRAMES` frames after it.
        """
        silence, skip = self._correction(frame, following)
        self._started = True
        self._position += (silence + frame.length - skip) / frame.rate
        return Placement(silence, skip)

    def _correction(self, frame: FrameTime, following: Iterable[FrameTime]) -> Placement:
        drift = self._drift(frame)
        tolerance = TOLERANCE_SECONDS if self._started else 0.0
        if abs(drift) <= tolerance or self._is_outlier(frame, following):
            return Placement(0, 0)
        if 0 < drift <= MAX_GAP_SECONDS:
            return Placement(round(drift * frame.rate), 0)
        if -MAX_OVERLAP_SECONDS <= drift < 0:
            return Placement(0, min(frame.length, round(-drift * frame.rate)))
        self._ignore_jump(drift)
        return Placement(0, 0)

    def _drift(self, frame: FrameTime) -> float:
        """Return how far the time stamp is ahead of the audio so far, seconds."""
        return 0.0 if frame.time is None else frame.time - self._origin - self._position

    def _is_outlier(self, frame: FrameTime, following: Iterable[FrameTime]) -> bool:
        """Whether later frames continue the audio so far, so that only a few stamps are wrong."""
        elapsed = frame.seconds
        for each in following:
            if each.time is not None and abs(self._drift(each) - elapsed) <= TOLERANCE_SECONDS:
                return True
            elapsed += each.seconds
        return False

    def _ignore_jump(self, drift: float) -> None:
        self._origin += drift
        self._ignored_jumps += 1
        if not self._first_jump:
            self._first_jump = f"the time stamps jump by {drift:.1f} s at {self._position:.1f} s"
