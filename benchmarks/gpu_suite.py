"""All figures of one GPU in one command: under 8 minutes, without the network.

    python -m benchmarks.gpu_suite --json gpu.json

Makes the full-size checkpoint with random weights (20 GB of disk while it is made, then 9 GB) and
runs `python -m benchmarks.speed` on it, `phi4audio bench` for one stream with and without int4
weights, and the stages of the front end. A part that doesn't fit the remaining time is reported as
skipped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VARIANTS = ("leaderboard", "static", "ours", "ours+words")


def main() -> None:
    """Run the parts, the most important first, and print their output."""
    from benchmarks.random_models import benchmark_checkpoint

    options = parse()
    began = time.monotonic()
    folder = benchmark_checkpoint(options.model)
    print(f"checkpoint made in {time.monotonic() - began:.0f} s", file=sys.stderr)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in build_commands(options, folder).items():
            result = Path(scratch) / "result.json"
            left = options.minutes * 60 - (time.monotonic() - began)
            found[name] = run(name, command, result, left)
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="full", help="full, mid, demo, or a checkpoint")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=7.5, help="time for everything")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def build_commands(options: argparse.Namespace, folder: str) -> dict[str, list[str]]:
    """Return the commands; RESULT stands for the file of their JSON."""
    where = ["--device", options.device, "--dtype", options.dtype]
    tool = [sys.executable, "-m", "phi4audio_cli", "bench", "--model", folder, *where, "--json"]
    speed = [sys.executable, "-m", "benchmarks.speed", "--model", folder, *where, "--rounds", "1"]
    return {
        "variants": [*speed, "--clips", str(options.clips), "--batch", str(options.batch),
                     "--variants", *VARIANTS, "--json", "RESULT"],
        "one stream": [*tool, "--batch-size", "1", "--minutes", "2"],
        "one stream, int4": [*tool, "--batch-size", "1", "--minutes", "2", "--quantize", "int4"],
        "many streams": [*tool, "--batch-size", str(options.batch), "--minutes", "60"],
        "front end": [sys.executable, "-m", "benchmarks.frontend", "--seconds", "120",
                      "--rounds", "2", "--readers", "1", "8", "--json", "RESULT"],
    }  # fmt: skip


def run(name: str, command: Sequence[str], result: Path, left: float) -> Any:
    """Run one part in the seconds left; return its JSON, or the reason why there is none."""
    result.unlink(missing_ok=True)
    print(f"\n{name}:", flush=True)
    given = [str(result) if word == "RESULT" else word for word in command]
    try:
        done = subprocess.run(
            given, check=False, stdout=subprocess.PIPE, text=True, timeout=max(left, 1)
        )
    except subprocess.TimeoutExpired:
        print("  skipped: no time was left")
        return "skipped: no time was left"
    print(done.stdout, flush=True)
    if done.returncode:
        return f"failed with exit code {done.returncode}"
    text = result.read_text(encoding="utf-8") if result.is_file() else done.stdout
    return json.loads(text)


if __name__ == "__main__":
    main()
