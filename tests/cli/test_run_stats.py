"""The counts behind the bars."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import FileFailed, FileStarted
from tests.factories import make_chunk_done, make_file_done, make_job


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_no_estimates_before_the_first_chunk() -> None:
    tally = RunStats(2)
    assert (tally.audio_seconds, tally.elapsed_seconds) == (0, 0)
    assert (tally.rtfx, tally.total_audio_seconds, tally.seconds_left) == (None, None, None)


def test_speed_and_time_left_count_from_start_clock() -> None:
    clock = Clock()
    tally = RunStats(2, clock)
    clock.time = 150.0
    tally.start_clock()
    first, second = make_job(0), make_job(1)
    tally.update(FileStarted(first, 60.0))
    tally.update(make_chunk_done(first, 30.0))
    clock.time = 153.0
    assert tally.rtfx == pytest.approx(10)
    assert tally.total_audio_seconds == pytest.approx(
        120
    )  # the second is taken to be like the first
    assert tally.seconds_left == pytest.approx(9)
    tally.update(FileStarted(second, 20.0))
    assert tally.total_audio_seconds == pytest.approx(80)


def test_a_finished_recording_counts_with_its_decoded_length() -> None:
    tally = RunStats(1)
    tally.start_clock()
    only = make_job()
    tally.update(FileStarted(only, 100.0))
    tally.update(make_chunk_done(only, 40.0))
    tally.update(make_chunk_done(only, 40.0, "bonjour"))  # another question about the same chunk
    tally.update(make_chunk_done(only, 40.0, index=1))
    assert tally.seconds_done(0) == 80
    tally.update(make_file_done(only, 90.0))
    assert (tally.audio_seconds, tally.total_audio_seconds, tally.done) == (90, 90, 1)
    assert tally.seconds_done(0) == 0
    assert tally.duration_of(0) is None


def test_retried_half_chunks_do_not_change_the_audio_count() -> None:
    tally = RunStats(1)
    for seconds in (40.0, 22.0, 18.0):
        tally.update(make_chunk_done(make_job(), seconds))
    assert tally.seconds_done(0) == 40


def test_a_failed_recording_counts_no_audio() -> None:
    tally = RunStats(2)
    tally.start_clock()
    tally.update(FileStarted(make_job(0), 100.0))
    tally.update(make_chunk_done(make_job(0), 40.0))
    tally.update(FileFailed(make_job(0), AudioError("torn")))
    assert (tally.audio_seconds, tally.failed, tally.total_audio_seconds) == (0, 1, None)
    tally.update(make_file_done(make_job(1), 10.0))
    assert tally.total_audio_seconds == 10


def test_time_left_is_never_negative_if_the_header_is_too_short() -> None:
    tally = RunStats(1)
    tally.start_clock()
    tally.update(FileStarted(make_job(), 1.0))
    tally.update(make_chunk_done(make_job(), 40.0))
    assert tally.total_audio_seconds == 40
    assert tally.seconds_left == 0


def test_resumed_audio_does_not_count_towards_speed() -> None:
    clock = Clock()
    tally = RunStats(3, clock)
    tally.start_clock()
    clock.time += 10
    tally.add_skipped()
    tally.update(FileStarted(make_job(0), 60.0))
    tally.update(replace(make_chunk_done(make_job(0), 30.0), resumed=True))
    assert (tally.audio_seconds, tally.rtfx) == (30, None)
    tally.update(make_chunk_done(make_job(0), 30.0, index=1))
    assert tally.rtfx == pytest.approx(3)
    tally.update(make_file_done(make_job(0), 60.0))
    assert (tally.finished, tally.total_audio_seconds) == (
        2,
        120,
    )  # two recordings like the one measured


def test_each_of_two_channels_counts_as_half_the_recording() -> None:
    tally = RunStats(1)
    for index, speaker in enumerate(("left", "right")):
        done = make_chunk_done(make_job(), 30.0, index=index)
        request = done.generation.request
        chunk = replace(request.chunk, speaker=speaker)
        heard = replace(done.generation, request=replace(request, chunk=chunk))
        tally.update(replace(done, generation=heard))
    assert tally.seconds_done(0) == 30
