#!/usr/bin/env python
"""What Ray costs, and what a second worker brings: the command with and without a cluster.

Every process has one thread for the network. The same recordings are done by the command alone, by
one worker and by two, one after the other, several rounds; the model's loading doesn't count.
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
from pathlib import Path
from typing import Any

from phi4audio_cli.cluster.connect import LOCAL_ONLY, QUIET, STORE_BYTES

os.environ.update(QUIET | LOCAL_ONLY | {"OMP_NUM_THREADS": "1"})

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
        recordings = _copies(Path(folder) / "in", given.copies)
        cluster = _cluster()
        try:
            rounds = [
                {name: _rtfx(Path(folder), recordings, given.model, name) for name in VARIANTS}
                for _ in range(given.rounds)
            ]
        finally:
            cluster.shutdown()
    _print(rounds)
    if given.json:
        given.json.write_text(json.dumps(rounds, indent=2) + "\n", encoding="utf-8")


VARIANTS = {"without Ray": (), "1 worker": ("1",), "2 workers": ("2",)}
"""The number of workers of each."""


def _copies(folder: Path, count: int) -> Path:
    folder.mkdir()
    for source in SAMPLES.glob("*.flac"):
        for number in range(count):
            shutil.copy(source, folder / f"{source.stem}-{number}.flac")
    return folder


def _cluster() -> Any:
    """Start nodes with one processor each, so that every worker has one thread."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    os.environ["RAY_ADDRESS"] = cluster.address
    return cluster


def _rtfx(folder: Path, recordings: Path, model: str, variant: str) -> float:
    """Return seconds of audio done in a second, from the moment a worker's model is loaded."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    workers = VARIANTS[variant]
    more = ["--cluster", "auto", "--workers", *workers] if workers else []
    done = subprocess.run(
        [sys.executable, "-m", "phi4audio_cli", "transcribe", recordings, "-o", out,
         "--model", model, "--dtype", "float32", *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    if workers:
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        return sum(each["rtfx"] or 0.0 for each in report["workers"])
    return float(re.findall(r"RTFx ([0-9.]+)", done.stderr)[-1])


def _print(rounds: list[dict[str, float]]) -> None:
    alone = [each["without Ray"] for each in rounds]
    print(f"{'':<12} {'RTFx':>8} {'ratio to without Ray (least to most)':>38}")
    for name in VARIANTS:
        figures = [each[name] for each in rounds]
        ratios = [figure / base for figure, base in zip(figures, alone, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<12} {statistics.median(figures):>8.1f} {spread:>38}")


if __name__ == "__main__":
    main()
