"""Makespan and idle time of a thousand workers with many recordings, simulated.

    python -m benchmarks.scale.simulate ways
    python -m benchmarks.scale.simulate ways --picture docs/scale.svg
    python -m benchmarks.scale.simulate driver --driver-recording 120e-6 --driver-chunk 85e-6

`ways` compares ways to assign recordings, without driver time; `driver` shows how many workers one
driver keeps busy. Seeds are fixed: the same command prints the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.scale.cluster_simulation import ClusterSpec, SimulationResult, simulate_cluster
from benchmarks.scale.recording_lengths import (
    CLIPS,
    INTERVIEWS,
    Lengths,
    archive_lengths,
    log_normal,
    longest_first,
    measured_lengths,
    resample_lengths,
    shard_lengths,
    split_ranges,
)
from benchmarks.scale.utilization_chart import draw_utilization

SPLIT_SECONDS = 30 * 60.0
"""Longest range of a recording that is split, in seconds."""

BYTES_LOG_STD = 0.3
"""Standard deviation of the logarithm of the bytes per second of recordings."""

LengthSampler: TypeAlias = Callable[[int, np.random.Generator], Lengths]


def length_distributions(folders: Sequence[Path]) -> dict[str, LengthSampler]:
    """Return a sampler of lengths for each kind, with the measured ones if there are any."""
    found = measured_lengths(folders)
    made: dict[str, LengthSampler] = {
        "clips": lambda count, rng: log_normal(CLIPS, count, rng),
        "interviews": lambda count, rng: log_normal(INTERVIEWS, count, rng),
        "archive": archive_lengths,
    }
    if found:
        print(f"measured: {len(found)} recordings of {min(found):.2f} to {max(found):.2f} s,"
              f" {np.mean(found):.2f} s on average")  # fmt: skip
        made = {"measured": lambda count, rng: resample_lengths(found, count, rng), **made}
    return made


def simulate_schedules(
    machines: ClusterSpec, lengths: Lengths, hours: float, wanted: Sequence[str] | None
) -> dict[str, SimulationResult]:
    """Simulate every way to assign recordings."""
    rng = np.random.default_rng(1)
    bytes_of = lengths * rng.lognormal(0, BYTES_LOG_STD, len(lengths))
    by_size = shard_lengths(lengths, bytes_of, machines.workers)
    by_number = shard_lengths(lengths, np.ones(len(lengths)), machines.workers)
    slow, mortal = replace(machines, slow=0.05), replace(machines, hours_to_death=hours)
    shuffled = rng.permutation(lengths)
    todo: dict[str, tuple[ClusterSpec, list[Lengths]]] = {
        "pulled, long ones first": (machines, [longest_first(lengths, bytes_of)]),
        "pulled as listed": (machines, [lengths]),
        "pulled, shuffled": (machines, [shuffled]),
        "pulled, longest first": (machines, [np.sort(lengths)[::-1]]),
        "pulled, ranges of 30 min": (machines, [split_ranges(lengths, SPLIT_SECONDS)]),
        "shards by bytes": (machines, by_size),
        "shards by number": (machines, by_number),
        "pulled, 5 % at half speed": (slow, [longest_first(lengths, bytes_of)]),
        "shards by bytes, 5 % slow": (slow, by_size),
        "pulled, workers die": (mortal, [longest_first(lengths, bytes_of)]),
        "shards by bytes, they die": (mortal, by_size),
    }
    return {
        name: simulate_cluster(each, [queue.tolist() for queue in queues])
        for name, (each, queues) in todo.items()
        if not wanted or name in wanted
    }


def print_table(name: str, lengths: Lengths, outcomes: dict[str, SimulationResult]) -> None:
    """Print a table."""
    print(f"\n{name}: {len(lengths)} recordings, {lengths.mean():.1f} s on average, "
          f"longest {lengths.max():.0f} s")  # fmt: skip
    print(
        f"{'':27}{'ideal, s':>10}{'took, s':>10}{'over, s':>9}{'idle':>8}{'tail, s':>9}{'died':>6}"
    )
    for way, found in outcomes.items():
        took = found.makespan - found.start_up
        print(f"{way:27}{found.ideal:10.1f}{took:10.1f}{found.excess_seconds:9.1f}"
              f"{found.idle_share:8.1%}{found.tail:9.1f}{found.deaths:6}")  # fmt: skip


def compare_schedules(options: argparse.Namespace, machines: ClusterSpec) -> None:
    """Simulate every way for every kind of recordings."""
    for name, kind in length_distributions(options.measured).items():
        if options.kinds and name not in options.kinds:
            continue
        lengths = kind(options.recordings, np.random.default_rng(options.seed))
        outcomes = simulate_schedules(machines, lengths, options.hours_to_death, options.ways)
        print_table(name, lengths, outcomes)
        if options.picture and name == "archive":
            some = {way: outcomes[way].idle_from for way in list(outcomes)[:7]}
            first = outcomes["pulled as listed"]
            title = f"Share of {machines.workers} workers with work: {len(lengths)} recordings"
            options.picture.write_text(
                draw_utilization(f"{title} of a mixed archive", some, first.ideal, first.start_up),
                encoding="utf-8",
            )


def compare_sizes(options: argparse.Namespace, machines: ClusterSpec) -> None:
    """Simulate clusters of several sizes under one driver."""
    print(f"{'':12}{'workers':>8}{'ideal, s':>10}{'took, s':>10}{'idle':>8}")
    for name, kind in length_distributions(options.measured).items():
        if options.kinds and name not in options.kinds:
            continue
        for workers in (10, 30, 100, 300, 1000):
            some = replace(machines, workers=workers)
            count = max(options.recordings * workers // 1000, 1)
            lengths = kind(count, np.random.default_rng(options.seed))
            found = simulate_cluster(some, [np.random.default_rng(1).permutation(lengths).tolist()])
            print(f"{name:12}{workers:8}{found.ideal:10.1f}{found.makespan - found.start_up:10.1f}"
                  f"{found.idle_share:8.1%}")  # fmt: skip


def main() -> None:
    """Read the command line, simulate, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", choices=["ways", "driver"])
    parser.add_argument("--recordings", type=int, default=200_000)
    parser.add_argument("--kinds", nargs="+", help="default: all")
    parser.add_argument("--ways", nargs="+", help="default: all")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--rtfx", type=float, default=1500, help="of a worker's model")
    parser.add_argument("--reader-rtfx", type=float, default=220, help="of one recording")
    parser.add_argument("--readers", type=int, default=15, help="of each worker: 16 cores")
    parser.add_argument("--start-up", type=float, default=60, help="seconds to load a model")
    parser.add_argument("--hours-to-death", type=float, default=24, help="of a worker, on average")
    parser.add_argument("--driver-recording", type=float, default=0.0, help="seconds")
    parser.add_argument("--driver-chunk", type=float, default=0.0, help="seconds")
    parser.add_argument("--measured", type=Path, nargs="*", default=[], help="folders of audio")
    parser.add_argument("--picture", type=Path, help="file for a chart of the archive, as SVG")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    machines = ClusterSpec(
        workers=options.workers,
        rtfx=options.rtfx,
        reader_rtfx=options.reader_rtfx,
        readers=options.readers,
        start_up=options.start_up,
        driver_recording=options.driver_recording,
        driver_chunk=options.driver_chunk,
    )
    (compare_schedules if options.comparison == "ways" else compare_sizes)(options, machines)


if __name__ == "__main__":
    main()
