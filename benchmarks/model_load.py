"""Time and peak memory of loading a checkpoint, in relation to its weights.

    python -m benchmarks.model_load --model DIR [--dtype bfloat16]

The checkpoint, of any layout, is loaded in a process of its own after all imports; the memory
before is reported separately. `python -m tools.make_checkpoint` makes a checkpoint of full size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.resident_memory import resident


def measure(folder: Path, dtype: str) -> dict[str, float]:
    """Load once in this process."""
    from phi4audio_cli.model.torch_backend import open_torch_backend

    before = resident("VmHWM")
    started = time.perf_counter()
    backend = open_torch_backend(folder, device="cpu", dtype=dtype)
    seconds = time.perf_counter() - started
    weights = list(backend.network.parameters())
    return {
        "seconds": seconds,
        "imports_bytes": before,
        "peak_bytes": resident("VmHWM"),
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
    print(f"  before       {figures['imports_bytes'] / 1e9:8.3f} GB (Python and libraries)")
    print(f"seconds        {figures['seconds']:8.2f}")


if __name__ == "__main__":
    main()
