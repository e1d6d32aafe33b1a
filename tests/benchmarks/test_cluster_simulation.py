"""The simulation of docs/scale.md, compared with cases computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale.cluster_simulation import ClusterSpec, simulate_cluster
from benchmarks.scale.recording_lengths import (
    archive_lengths,
    log_normal,
    longest_first,
    resample_lengths,
    shard_lengths,
    split_ranges,
)
from benchmarks.scale.utilization_chart import draw_utilization
from phi4audio_cli.cluster.work_queue import long_recordings_first
from phi4audio_cli.types import Job

PLAIN = ClusterSpec(workers=2, rtfx=10.0, readers=1, start_up=5.0)
"""Two workers; a recording of 100 s takes one of them 10 s."""


def test_next_recording_goes_to_the_first_free_worker() -> None:
    # 100 and 50 start at 5; the second worker takes 50 from 10 to 15, then 20 until 17.
    found = simulate_cluster(PLAIN, [[100, 50, 50, 20]])
    assert (found.ideal, found.makespan, list(found.idle_from)) == (11.0, 17.0, [15.0, 17.0])
    assert found.excess_seconds == pytest.approx(1.0)
    assert found.idle_share == pytest.approx(1 / 12)
    assert found.tail == pytest.approx(2.0)


def test_long_recording_delays_the_end_only_if_it_is_last() -> None:
    short, long = [20] * 10, [100]
    assert simulate_cluster(PLAIN, [short + long]).makespan == 5 + 10 + 10
    assert simulate_cluster(PLAIN, [long + short]).makespan == 5 + 16


def test_shards_do_not_overlap() -> None:
    found = simulate_cluster(PLAIN, [[100, 50], [10]])
    assert (found.ideal, found.makespan, list(found.idle_from)) == (8.0, 20.0, [6.0, 20.0])


def test_speed_of_one_recording_is_limited_by_its_reader() -> None:
    reading = ClusterSpec(workers=1, rtfx=10.0, reader_rtfx=5.0, readers=1, start_up=0.0)
    assert simulate_cluster(reading, [[100, 100]]).makespan == 40.0
    two = ClusterSpec(workers=1, rtfx=10.0, reader_rtfx=5.0, readers=2, start_up=0.0)
    assert simulate_cluster(two, [[100, 100]]).makespan == 20.0, "two are read at a time"


def test_slow_workers_pull_fewer_recordings() -> None:
    slow = ClusterSpec(workers=2, rtfx=10.0, readers=1, start_up=0.0, slow=0.5)
    # The slow worker takes 2 s for 10 s of audio, the other 1 s.
    assert simulate_cluster(slow, [[10] * 6]).makespan == 4.0
    assert simulate_cluster(slow, [[10] * 3, [10] * 3]).makespan == 6.0


def test_slow_driver_delays_all_workers() -> None:
    slow = ClusterSpec(workers=2, rtfx=10.0, readers=2, start_up=0.0,
                    driver_recording=1.0, driver_chunk=2.0)  # fmt: skip
    # 40 s are one chunk: 3 s of driver time each, and 4 s of the last model.
    assert simulate_cluster(slow, [[40] * 5]).makespan == pytest.approx(5 * 3 + 4)


def test_answers_of_a_dead_worker_are_kept() -> None:
    mortal = ClusterSpec(workers=1, rtfx=1.0, readers=1, start_up=10.0, hours_to_death=1.0)
    found = simulate_cluster(mortal, [[3600.0 * 5]], seed=3)
    assert found.deaths > 0
    assert found.makespan == pytest.approx(10 + 5 * 3600 + 10 * found.deaths)


def test_other_workers_take_the_jobs_of_a_dead_worker() -> None:
    mortal = ClusterSpec(workers=4, rtfx=1.0, readers=2, start_up=10.0, hours_to_death=1.0)
    found = simulate_cluster(mortal, [[1000.0] * 200], seed=1)
    assert found.deaths > 10
    assert found.makespan >= 10 + found.ideal
    assert found.excess_seconds <= 10 * found.deaths + 2000


def test_many_readers_and_workers_complete_all_recordings() -> None:
    lengths = log_normal((10, 100), 2000, np.random.default_rng(0))
    found = simulate_cluster(
        ClusterSpec(workers=7, readers=3, rtfx=2.0, start_up=1.0), [lengths.tolist()]
    )
    assert found.ideal == pytest.approx(lengths.sum() / 14)
    assert 0 < found.excess_seconds < lengths.max() * 3 / 2
    assert len(found.idle_from) == 7


def test_shards_are_disjoint_complete_and_balanced() -> None:
    lengths = log_normal((10, 100), 500, np.random.default_rng(0))
    parts = shard_lengths(lengths, lengths, 8)
    assert sorted(np.concatenate(parts)) == sorted(lengths)
    sums = [part.sum() for part in parts]
    assert max(sums) - min(sums) < lengths.min() * 2


def test_order_of_long_recordings_is_that_of_the_driver() -> None:
    lengths = np.array([1.0] * 20 + [35.0, 2.0, 40.0, 1.0])
    jobs = [Job(index, Path(f"{index}.wav")) for index in range(len(lengths))]
    driver = long_recordings_first(jobs, lambda job: int(lengths[job.index]))
    assert longest_first(lengths, lengths).tolist() == [lengths[job.index] for job in driver]
    assert longest_first(lengths, lengths)[:3].tolist() == [35.0, 40.0, 1.0]


def test_ranges_are_equal_and_within_the_limit() -> None:
    assert split_ranges(np.array([100.0, 30.0]), 40.0).tolist() == [100 / 3] * 3 + [30.0]


def test_sampled_lengths_are_reproducible() -> None:
    drawn = log_normal((3, 15), 100_000, np.random.default_rng(0))
    assert np.mean((drawn > 3) & (drawn < 15)) == pytest.approx(0.9, abs=0.005)
    assert drawn.min() >= 1.5
    assert drawn.max() <= 30
    assert set(resample_lengths([1.0, 2.0], 50, np.random.default_rng(0))) == {1.0, 2.0}
    one, other = (archive_lengths(1000, np.random.default_rng(5)) for _ in range(2))
    assert one.tolist() == other.tolist()
    assert (len(one), one.argmax(), one[-1]) == (1000, 999, 36_000)


def test_chart_is_svg_and_names_every_schedule() -> None:
    from xml.etree import ElementTree

    drawn = draw_utilization("a title", {"pulled": [10.0, 12.0], "shards": [6.0, 20.0]}, 11.0, 5.0)
    texts = [each.text for each in ElementTree.fromstring(drawn).iter() if each.text]
    assert {"a title", "pulled", "shards", "ideal"} <= set(texts)
