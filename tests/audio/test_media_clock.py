"""The media clock: silence for gaps, one copy of overlaps, and no effect of absurd time stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.audio.media_clock import (
    LOOKAHEAD_FRAMES,
    TOLERANCE_SECONDS,
    FrameTime,
    MediaClock,
    Placement,
)

RATE, LENGTH = 16000, 320


def frames(*times: float | None) -> list[FrameTime]:
    return [FrameTime(time, LENGTH, RATE) for time in times]


def steady(start: float, count: int) -> list[float]:
    return [start + number * LENGTH / RATE for number in range(count)]


def place_all(clock: MediaClock, all_frames: list[FrameTime]) -> list[Placement]:
    return [
        clock.place(frame, all_frames[index + 1 : index + 1 + LOOKAHEAD_FRAMES])
        for index, frame in enumerate(all_frames)
    ]


def test_steady_frames_follow_each_other() -> None:
    clock = MediaClock(0.0)
    assert set(place_all(clock, frames(*steady(0, 100)))) == {(0, 0)}
    assert clock.position == pytest.approx(2)
    assert clock.damage is None


def test_the_first_frame_is_placed_exactly() -> None:
    """Later differences of less than the tolerance are rounding errors; the first is a start."""
    assert MediaClock(1.0).place(FrameTime(1.05, LENGTH, RATE)) == (800, 0)


def test_frames_without_time_stamps_follow_each_other() -> None:
    assert set(place_all(MediaClock(5.0), frames(*[None] * 9))) == {(0, 0)}


@given(st.lists(st.booleans(), min_size=2, max_size=200), st.floats(-1e5, 1e5))
def test_lost_frames_leave_no_lasting_shift(lost: list[bool], origin: float) -> None:
    times = [time for time, gone in zip(steady(0, len(lost)), lost, strict=True) if not gone]
    if not times:
        return
    clock = MediaClock(origin)
    place_all(clock, frames(*(origin + time for time in times)))
    end = times[-1] + LENGTH / RATE
    assert clock.position == pytest.approx(end, abs=TOLERANCE_SECONDS + 0.001)
    assert clock.damage is None


def test_an_overlap_is_skipped_over_several_frames() -> None:
    times = steady(0, 50) + steady(0.5, 50)
    placements = place_all(MediaClock(0.0), frames(*times))
    assert sum(skip for _, skip in placements) == pytest.approx(0.5 * RATE, abs=1600)
    assert not any(silence for silence, _ in placements)


@pytest.mark.parametrize("jump", [-3600.0, -5.0, 7200.0, 1e9])
def test_an_absurd_jump_keeps_the_audio_and_is_reported_once(jump: float) -> None:
    clock = MediaClock(0.0)
    placements = place_all(clock, frames(*steady(0, 50), *steady(1 + jump, 50)))
    assert set(placements) == {(0, 0)}
    assert clock.damage == f"the time stamps jump by {jump:.1f} s at 1.0 s"


def test_many_jumps_are_one_line() -> None:
    clock = MediaClock(0.0)
    place_all(clock, frames(*steady(0, 50), *steady(9000, 50), *steady(0, 50)))
    assert clock.damage
    assert clock.damage.endswith("the first of 2 such jumps")


@pytest.mark.parametrize("wrong", [-50.0, 3.0, 8000.0])
@pytest.mark.parametrize("count", [1, LOOKAHEAD_FRAMES - 1])
def test_a_few_wrong_time_stamps_have_no_effect(wrong: float, count: int) -> None:
    times = steady(0, 100)
    for index in range(50, 50 + count):
        times[index] += wrong
    clock = MediaClock(0.0)
    assert set(place_all(clock, frames(*times))) == {(0, 0)}
    assert clock.damage is None
