"""Times, durations and sizes for people."""

from __future__ import annotations

import pytest

from phi4audio_cli.formatting import format_bytes, format_duration, format_timestamp


@pytest.mark.parametrize(
    ("seconds", "timestamp", "duration"),
    [
        (0, "0:00", "0:00"),
        (7.6, "0:07", "0:08"),
        (59.9, "0:59", "1:00"),
        (750, "12:30", "12:30"),
        (3723, "1:02:03", "1:02:03"),
        (36_000, "10:00:00", "10:00:00"),
    ],
)
def test_timestamps_are_truncated_and_durations_rounded(seconds, timestamp, duration):
    assert format_timestamp(seconds) == timestamp
    assert format_duration(seconds) == duration


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 MB"), (99_900_000, "99.9 MB"), (100_000_000, "0.1 GB"), (11_400_000_000, "11.4 GB")],
)
def test_bytes_are_megabytes_or_gigabytes(count, text):
    assert format_bytes(count) == text
