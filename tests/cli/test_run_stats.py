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
    stats = RunStats(2)
    assert (stats.audio_seconds, stats.elapsed_seconds) == (0, 0)
    assert (stats.rtfx, stats.total_audio_seconds, stats.seconds_left) == (None, None, None)


def test_speed_and_time_left_count_from_start_clock() -> None:
    clock = Clock()
    stats = RunStats(2, clock)
    clock.time = 150.0
    stats.start_clock()
    first, second = make_job(0), make_job(1)
    stats.update(FileStarted(first, 60.0))
    stats.update(make_chunk_done(first, 30.0))
    clock.time = 153.0
    assert stats.rtfx == pytest.approx(10)
    assert stats.total_audio_seconds == pytest.approx(
        120
    )  # the second is taken to be like the first
    assert stats.seconds_left == pytest.approx(9)
    stats.update(FileStarted(second, 20.0))
    assert stats.total_audio_seconds == pytest.approx(80)


def test_a_finished_recording_counts_with_its_decoded_length() -> None:
    stats = RunStats(1)
    stats.start_clock()
    only = make_job()
    stats.update(FileStarted(only, 100.0))
    stats.update(make_chunk_done(only, 40.0))
    stats.update(make_chunk_done(only, 40.0, "bonjour"))  # another question about the same chunk
    stats.update(make_chunk_done(only, 40.0, index=1))
    assert stats.seconds_done(0) == 80
    stats.update(make_file_done(only, 90.0))
    assert (stats.audio_seconds, stats.total_audio_seconds, stats.done) == (90, 90, 1)
    assert stats.seconds_done(0) == 0
    assert stats.duration_of(0) is None


def test_retried_half_chunks_do_not_change_the_audio_count() -> None:
    stats = RunStats(1)
    for seconds in (40.0, 22.0, 18.0):
        stats.update(make_chunk_done(make_job(), seconds))
    assert stats.seconds_done(0) == 40


def test_a_failed_recording_counts_no_audio() -> None:
    stats = RunStats(2)
    stats.start_clock()
    stats.update(FileStarted(make_job(0), 100.0))
    stats.update(make_chunk_done(make_job(0), 40.0))
    stats.update(FileFailed(make_job(0), AudioError("torn")))
    assert (stats.audio_seconds, stats.failed, stats.total_audio_seconds) == (0, 1, None)
    stats.update(make_file_done(make_job(1), 10.0))
    assert stats.total_audio_seconds == 10


def test_time_left_is_never_negative_if_the_header_is_too_short() -> None:
    stats = RunStats(1)
    stats.start_clock()
    stats.update(FileStarted(make_job(), 1.0))
    stats.update(make_chunk_done(make_job(), 40.0))
    assert stats.total_audio_seconds == 40
    assert stats.seconds_left == 0


def test_resumed_audio_does_not_count_towards_speed() -> None:
    clock = Clock()
    stats = RunStats(3, clock)
    stats.start_clock()
    clock.time += 10
    stats.add_skipped()
    stats.update(FileStarted(make_job(0), 60.0))
    stats.update(replace(make_chunk_done(make_job(0), 30.0), resumed=True))
    assert (stats.audio_seconds, stats.rtfx) == (30, None)
    stats.update(make_chunk_done(make_job(0), 30.0, index=1))
    assert stats.rtfx == pytest.approx(3)
    stats.update(make_file_done(make_job(0), 60.0))
    assert (stats.finished, stats.total_audio_seconds) == (
        2,
        120,
    )  # two recordings like the one measured


def test_each_of_two_channels_counts_as_half_the_recording() -> None:
    stats = RunStats(1)
    for index, speaker in enumerate(("left", "right")):
        done = make_chunk_done(make_job(), 30.0, index=index)
        request = done.generation.request
        chunk = replace(request.chunk, speaker=speaker)
        generation = replace(done.generation, request=replace(request, chunk=chunk))
        stats.update(replace(done, generation=generation))
    assert stats.seconds_done(0) == 30
