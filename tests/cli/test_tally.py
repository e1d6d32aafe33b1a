"""The counts behind the bars."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import FileFailed, FileStarted

from .samples import chunk_done, file_done, job


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_nothing_is_known_before_the_first_chunk() -> None:
    tally = Tally(2)
    assert (tally.audio, tally.elapsed) == (0, 0)
    assert (tally.rtfx, tally.total_audio, tally.seconds_left) == (None, None, None)


def test_speed_and_time_left_count_from_begin() -> None:
    clock = Clock()
    tally = Tally(2, clock)
    clock.time = 150.0
    tally.begin()
    first, second = job(0), job(1)
    tally.take(FileStarted(first, 60.0))
    tally.take(chunk_done(first, 30.0))
    clock.time = 153.0
    assert tally.rtfx == pytest.approx(10)
    assert tally.total_audio == pytest.approx(120)  # the second is taken to be like the first
    assert tally.seconds_left == pytest.approx(9)
    tally.take(FileStarted(second, 20.0))
    assert tally.total_audio == pytest.approx(80)


def test_a_finished_recording_counts_with_its_decoded_length() -> None:
    tally = Tally(1)
    tally.begin()
    only = job()
    tally.take(FileStarted(only, 100.0))
    tally.take(chunk_done(only, 40.0))
    tally.take(chunk_done(only, 40.0, "bonjour"))  # another question about the same chunk
    tally.take(chunk_done(only, 40.0, index=1))
    assert tally.heard(0) == 80
    tally.take(file_done(only, 90.0))
    assert (tally.audio, tally.total_audio, tally.done) == (90, 90, 1)
    assert tally.heard(0) == 0
    assert tally.length(0) is None


def test_half_a_chunk_that_is_asked_again_adds_and_takes_nothing() -> None:
    tally = Tally(1)
    for seconds in (40.0, 22.0, 18.0):
        tally.take(chunk_done(job(), seconds))
    assert tally.heard(0) == 40


def test_a_failed_recording_counts_no_audio() -> None:
    tally = Tally(2)
    tally.begin()
    tally.take(FileStarted(job(0), 100.0))
    tally.take(chunk_done(job(0), 40.0))
    tally.take(FileFailed(job(0), AudioError("torn")))
    assert (tally.audio, tally.failed, tally.total_audio) == (0, 1, None)
    tally.take(file_done(job(1), 10.0))
    assert tally.total_audio == 10


def test_a_header_that_says_too_little_never_makes_the_time_left_negative() -> None:
    tally = Tally(1)
    tally.begin()
    tally.take(FileStarted(job(), 1.0))
    tally.take(chunk_done(job(), 40.0))
    assert tally.total_audio == 40
    assert tally.seconds_left == 0


def test_what_an_earlier_run_did_is_no_speed() -> None:
    clock = Clock()
    tally = Tally(3, clock)
    tally.begin()
    clock.time += 10
    tally.skip()
    tally.take(FileStarted(job(0), 60.0))
    tally.take(replace(chunk_done(job(0), 30.0), recalled=True))
    assert (tally.audio, tally.rtfx) == (30, None)
    tally.take(chunk_done(job(0), 30.0, index=1))
    assert tally.rtfx == pytest.approx(3)
    tally.take(file_done(job(0), 60.0))
    assert (tally.finished, tally.total_audio) == (2, 120)  # two recordings like the one measured


def test_of_two_channels_each_is_half_of_the_recording() -> None:
    tally = Tally(1)
    for index, speaker in enumerate(("left", "right")):
        done = chunk_done(job(), 30.0, index=index)
        request = done.generation.request
        chunk = replace(request.chunk, speaker=speaker)
        heard = replace(done.generation, request=replace(request, chunk=chunk))
        tally.take(replace(done, generation=heard))
    assert tally.heard(0) == 30
