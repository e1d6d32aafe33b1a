#!/usr/bin/env python
"""What Ray costs, and what a second worker brings: the command with and without a cluster.

Every process has one thread for the network. The same recordings are done by the command alone, by
one worker and by two, one after the other, several rounds. RTFx is of wall time, without loading
the model, and means little on a busy machine. Processor time is that of all processes, Ray's own
among them, beyond what a run over one recording a worker takes: starting and loading are left out.
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

from phi4audio_cli.cluster.ray_cluster import LOCAL_ENV, OBJECT_STORE_BYTES, QUIET_ENV

os.environ.update(QUIET_ENV | LOCAL_ENV | {"OMP_NUM_THREADS": "1"})

SAMPLES = Path(__file__).resolve().parents[1] / "phi4audio_cli" / "demo" / "samples"


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
    """Return the RTFx, and the processor's seconds for an hour of audio."""
    # As many as there are workers, so that each loads its model.
    few = sorted(recordings.iterdir())[: int(*VARIANTS[variant] or "1")]
    base, _, little = _run_command(folder, few, model, variant)
    spent, rtfx, audio = _run_command(folder, list(recordings.iterdir()), model, variant)
    return {"rtfx": rtfx, "cpu": 3600 * (spent - base) / (audio - little)}


def _run_command(
    folder: Path, what: list[Path], model: str, variant: str
) -> tuple[float, float, float]:
    """Return the processor's seconds, the RTFx while a model was there, and seconds of audio."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    workers = VARIANTS[variant]
    more = ["--cluster", "auto", "--workers", *workers] if workers else []
    with (folder / "err").open("w+") as err:
        before = _cpu_seconds(psutil.Process().children(recursive=True)) if workers else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "phi4audio_cli", "transcribe", *what, "-o", out,
             "--model", model, "--dtype", "float32", *more],
            stdout=subprocess.DEVNULL, stderr=err,
        )  # fmt: skip
        root = psutil.Process() if workers else psutil.Process(process.pid)
        spent: dict[int, float] = {}
        while process.poll() is None:
            spent |= _cpu_seconds([*root.children(recursive=True), *([] if workers else [root])])
            time.sleep(0.1)
        err.seek(0)
        said = err.read()
    if process.returncode:
        sys.exit(said)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    rates = [each["rtfx"] or 0.0 for each in report.get("workers", ())]
    rtfx = sum(rates) or float(re.findall(r"RTFx ([0-9.]+)", said)[-1])
    total = sum(spent.values()) - sum(before.get(pid, 0.0) for pid in spent)
    return total, rtfx, report["totals"]["seconds"]


def _cpu_seconds(processes: list[psutil.Process]) -> dict[int, float]:
    """Return what each process has used of the processor, by its number."""
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
