"""Numbers in the form that people read: times, durations and sizes."""

from __future__ import annotations


def format_timestamp(seconds: float) -> str:
    """Format a time in a recording, truncated to seconds: `0:07`, `12:30`, `1:02:03`."""
    return _clock(int(seconds))


def format_duration(seconds: float) -> str:
    """Format a length of time, rounded to seconds: `0:07`, `12:30`, `1:02:03`."""
    return _clock(round(seconds))


def format_bytes(count: float) -> str:
    """Format a number of bytes: `12.3 GB`, `45.6 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
