#!/usr/bin/env python3
"""Measure a load: seconds, and peak memory against the weights.

    python scripts/bench_load.py --model DIR [--dtype bfloat16]

The checkpoint is loaded in a process of its own, after everything is imported; what the process
held by then is reported apart. Any layout will do, `scripts/make_checkpoint.py` makes one of full
size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path


def peak_bytes() -> int:
    """Return the highest resident memory of this process so far, mapped files included."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this script reads /proc, which this system doesn't have")


def measure(folder: Path, dtype: str) -> dict[str, float]:
    """Load once in this process."""
    from phi4audio_cli.model.torch_backend import open_torch_backend

    before = peak_bytes()
    started = time.perf_counter()
    backend = open_torch_backend(folder, device="cpu", dtype=dtype)
    seconds = time.perf_counter() - started
    weights = list(backend.network.parameters())
    return {
        "seconds": seconds,
        "imports_bytes": before,
        "peak_bytes": peak_bytes(),
        "weights_bytes": sum(one.numel() * one.element_size() for one in weights),
        "parameters": sum(one.numel() for one in weights),
    }


def main() -> None:
    """Run the measurement in a fresh process and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a checkpoint")
    parser.add_argument("--dtype", default="bfloat16", help="of the loaded weights")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.model, options.dtype)))
        return
    command = [sys.executable, "-m", "benchmarks.model_load", "--here", "--dtype", options.dtype]
    done = subprocess.run([*command, "--model", options.model], stdout=subprocess.PIPE, check=True)
    figures = json.loads(done.stdout)
    figures["ratio"] = figures["peak_bytes"] / figures["weights_bytes"]
    if options.json:
        print(json.dumps(figures))
        return
    print(f"parameters     {figures['parameters']:,}")
    print(f"weights        {figures['weights_bytes'] / 1e9:8.3f} GB")
    print(f"peak memory    {figures['peak_bytes'] / 1e9:8.3f} GB, {figures['ratio']:.3f} x weights")
    print(f"  of it before {figures['imports_bytes'] / 1e9:8.3f} GB (Python, torch, transformers)")
    print(f"seconds        {figures['seconds']:8.2f}")


if __name__ == "__main__":
    main()
