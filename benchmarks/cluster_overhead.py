"""Overhead of Ray, and the gain from a second worker: the command with and without a cluster.

    python -m benchmarks.cluster_overhead --copies 6 --rounds 1

Every process has one thread for the network. The command alone, one worker and two workers take
turns on the same recordings for several rounds. RTFx is of wall time without the loading of the
model, and depends on the load of the machine. Processor time is that of all processes, Ray's
included, without start-up and loading: that of a run over one recording per worker is subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks import SAMPLES
from phi4audio_cli.cluster.ray_cluster import LOCAL_ENV, OBJECT_STORE_BYTES, QUIET_ENV

os.environ.update(QUIET_ENV | LOCAL_ENV | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Run all variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=4, help="of the six bundled recordings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--json", type=Path, help="where to write the figures, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p4a-bench-") as folder:
        recordings = _copy_samples(Path(folder) / "in", given.copies)
        cluster = _cluster()
        try:
            rounds = [
                {name: _measure(Path(folder), recordings, given.model, name) for name in VARIANTS}
                for _ in range(given.rounds)
            ]
        finally:
            cluster.shutdown()
    _print_table(rounds)
    if given.json:
        given.json.write_text(json.dumps(rounds, indent=2) + "\n", encoding="utf-8")


VARIANTS = {"without Ray": (), "1 worker": ("1",), "2 workers": ("2",)}
"""The number of workers of each."""


def _copy_samples(folder: Path, count: int) -> Path:
    folder.mkdir()
    for source in SAMPLES.glob("*.flac"):
        for number in range(count):
            shutil.copy(source, folder / f"{source.stem}-{number}.flac")
    return folder


def _cluster() -> Any:
    """Start nodes with one processor each, so that every worker has one thread."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    os.environ["RAY_ADDRESS"] = cluster.address
    return cluster


def _measure(folder: Path, recordings: Path, model: str, variant: str) -> dict[str, float]:
    """Return the RTFx, and the processor time per hour of audio in seconds."""
    # One recording per worker, so that each loads its model.
    few = sorted(recordings.iterdir())[: int(*VARIANTS[variant] or "1")]
    base, _, base_audio = _run_command(folder, few, model, variant)
    spent, rtfx, audio = _run_command(folder, list(recordings.iterdir()), model, variant)
    return {"rtfx": rtfx, "cpu": 3600 * (spent - base) / (audio - base_audio)}


def _run_command(
    folder: Path, recordings: list[Path], model: str, variant: str
) -> tuple[float, float, float]:
    """Return processor time in seconds, RTFx without loading, and seconds of audio."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    workers = VARIANTS[variant]
    more = ["--cluster", "auto", "--workers", *workers] if workers else []
    with (folder / "err").open("w+") as err:
        before = _cpu_seconds(psutil.Process().children(recursive=True)) if workers else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "phi4audio_cli", "transcribe", *recordings, "-o", out,
             "--model", model, "--dtype", "float32", *more],
            stdout=subprocess.DEVNULL, stderr=err,
        )  # fmt: skip
        root = psutil.Process() if workers else psutil.Process(process.pid)
        spent: dict[int, float] = {}
        while process.poll() is None:
            spent |= _cpu_seconds([*root.children(recursive=True), *([] if workers else [root])])
            time.sleep(0.1)
        err.seek(0)
        messages = err.read()
    if process.returncode:
        sys.exit(messages)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    rates = [each["rtfx"] or 0.0 for each in report.get("workers", ())]
    rtfx = sum(rates) or float(re.findall(r"RTFx ([0-9.]+)", messages)[-1])
    total = sum(spent.values()) - sum(before.get(pid, 0.0) for pid in spent)
    return total, rtfx, report["totals"]["seconds"]


def _cpu_seconds(processes: list[psutil.Process]) -> dict[int, float]:
    """Return the processor time of each process in seconds, by process id."""
    found = {}
    for each in processes:
        with suppress(psutil.Error):
            times = each.cpu_times()
            found[each.pid] = times.user + times.system
    return found


def _print_table(rounds: list[dict[str, dict[str, float]]]) -> None:
    print(f"{'':<12} {'RTFx':>8} {'of without Ray':>24} {'CPU s/h':>9} {'of without Ray':>24}")
    for name in VARIANTS:
        row = f"{name:<12}"
        for what, width in (("rtfx", 8), ("cpu", 9)):
            figures = [each[name][what] for each in rounds]
            ratios = [each[name][what] / each["without Ray"][what] for each in rounds]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            row += f" {statistics.median(figures):>{width}.1f} {spread:>24}"
        print(row)


if __name__ == "__main__":
    main()
