"""Speed of decoding, speech detection, chunking and features, and the idle time of a device.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.frontend

RTFx per core is seconds of audio per second of processor time, which depends less on other programs
than wall time. Stages take turns for several rounds; the table has the median and the range. Then
the whole front end runs before a simulated device, with 1 and more readers.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

CORES = 16
GPU_RTFX = 1500.0
"""The goal for the model on an H100; the goal of the front end is twice that."""
FEED_FORMATS = ("16k.flac", "44k-stereo.mp3")
VAD_STAGES = {"16k.flac": "VAD 16k", "44k-stereo.mp3": "VAD 16k", "8k.wav": "VAD 8k"}
"""The speech detection stage of a recording of each format."""


def measure_stages(folder: Path, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Return each stage's RTFx per core, one value per round."""
    from benchmarks.frontend import chunk_transfer, looped_recordings
    from benchmarks.frontend.frontend_stages import build_stages

    found: dict[str, list[float]] = defaultdict(list)
    todo = build_stages(looped_recordings.write_recordings(folder, seconds), seconds)
    for number in range(rounds + 1):  # the first is a warm-up
        for name, stage in todo.items():
            began = time.thread_time()
            stage.do()
            if number:
                found[name].append(stage.seconds / (time.thread_time() - began))
        for way in chunk_transfer.TRANSFER_METHODS:
            if number:
                found[way].append(chunk_transfer.measure(way, 100))
    return found


def measure_feeding(
    folder: Path, seconds: float, rounds: int, readers: list[int], device: float
) -> list[dict[str, Any]]:
    """Return the results of feeding, one entry per format, device and number of readers."""
    from benchmarks.frontend.simulated_device import feed_device

    kinds = [(kind, pace, count) for kind in FEED_FORMATS for pace in (math.inf, device)
             for count in readers]  # fmt: skip
    found = defaultdict(list)
    for _ in range(rounds):
        for kind, pace, count in kinds:
            files = [folder / kind] * 4 * max(readers)
            found[kind, pace, count].append(feed_device(files, seconds, count, pace))
    return [
        {
            "format": kind,
            "device_rtfx": None if pace == math.inf else pace,
            "readers": count,
            **{
                field: statistics.median(getattr(each, field) for each in found[kind, pace, count])
                for field in ("rtfx", "per_core", "parent_share", "idle")
            },
        }
        for kind, pace, count in kinds
    ]


def print_stages(found: dict[str, list[float]]) -> None:
    """Print the stages and the speed of all together."""
    print(f"{'stage':34} {'RTFx per core':>14} {'range':>15}")
    for name, values in found.items():
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{name:34} {statistics.median(values):14.0f} {spread:>15}")
    middle = {name: statistics.median(values) for name, values in found.items()}
    goal = 2 * GPU_RTFX / CORES
    print(f"\ndecoding, VAD, cutting and transfer; the goal is {goal:.0f} per core for "
          f"{2 * GPU_RTFX:.0f} on {CORES} cores")  # fmt: skip
    for kind, vad in VAD_STAGES.items():
        parts = (f"decode {kind}", vad, "cut at pauses", "transfer")
        core = 1 / sum(1 / middle[part] for part in parts)
        print(f"{kind:34} {core:14.0f}   x {CORES} cores = {CORES * core:.0f} (an extrapolation)")


def print_feeding(found: list[dict[str, Any]]) -> None:
    """Print the results of feeding."""
    print(f"\n{'format':16} {'device':>8} {'readers':>8} {'RTFx':>6} {'per core':>9} "
          f"{'this process':>13} {'device idle':>12}")  # fmt: skip
    for each in found:
        device = each["device_rtfx"]
        idle = "-" if device is None else f"{each['idle']:.1%}"
        print(f"{each['format']:16} {device or 'none':>8} {each['readers']:8} {each['rtfx']:6.0f} "
              f"{each['per_core']:9.0f} {each['parent_share']:13.1%} {idle:>12}")  # fmt: skip


def main() -> int:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300, help="of each recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", type=float, default=300, help="RTFx of the simulated device")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()

    from benchmarks.frontend.simulated_device import load_average

    busy = load_average()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stages = measure_stages(folder, arguments.seconds, arguments.rounds)
        print_stages(stages)
        sys.stdout.flush()
        fed = measure_feeding(
            folder, arguments.seconds, arguments.rounds, arguments.readers, arguments.device
        )
    print_feeding(fed)
    print(f"\nload average {busy:.1f} at the start, {load_average():.1f} at the end")
    if arguments.json:
        arguments.json.write_text(json.dumps({"stages": stages, "feeding": fed}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
