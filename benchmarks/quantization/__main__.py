"""Memory, speed and answers with `--quantize`, in relation to the unquantized model.

    python -m benchmarks.quantization --model demo             # with the agreement of the answers
    python -m benchmarks.quantization --model mid              # the mid-size random checkpoint
    python -m benchmarks.quantization --model mid --device cuda --dtype bfloat16

One process per variant and round; variants take turns. Speeds are medians, with the ratio to the
unquantized model of the same round. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import FSDD
from benchmarks.random_models import benchmark_checkpoint

VARIANTS = ("none", "int8", "int4")
SPEEDS = {"alone": "tokens/s alone", "together": "tokens/s, batch {batch}", "rtfx": "RTFx"}


def main() -> None:
    """Measure all variants in processes of their own, or one in this."""
    options = parse()
    if options.one:
        from benchmarks.quantization.memory_and_speed import measure

        print(json.dumps(measure(options.one, options)))
        return
    compare = options.model == "demo" and not options.no_agreement
    options.model = benchmark_checkpoint(options.model)
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.variants}
    for _ in range(options.rounds):
        for kind, found in runs.items():
            found.append(run_in_subprocess(options, kind))
            print(f"{kind}: {found[-1]}", file=sys.stderr)
    print_table(runs, options.batch)
    if compare:
        from benchmarks.quantization.answer_agreement import print_agreement

        print_agreement(options)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="demo", help="demo, mid, or a stripped checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="of the answers that are timed")
    parser.add_argument("--minutes", type=float, default=1.0, help="of audio for the RTFx")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="one thread, and its processor time: for machines with other load",
    )
    parser.add_argument("--no-agreement", action="store_true", help="do not compare answers")
    parser.add_argument("--fsdd", type=Path, default=FSDD, help="recordings for the agreement")
    parser.add_argument("--clips", type=int, default=64, help="number of clips joined from them")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_subprocess(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quantization", "--one", kind]
    for name in ("model", "device", "dtype", "batch", "tokens", "minutes"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--processor-time"] if options.processor_time else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_table(runs: dict[str, list[dict[str, Any]]], batch: int) -> None:
    """Print one row per variant."""
    heads = [head.format(batch=batch) for head in SPEEDS.values()]
    print(f"| weights | {' | '.join(['GB of weights', 'peak GB', *heads])} |")
    print("|" + " --- |" * (3 + len(heads)))
    base = runs.get("none")
    for kind, found in runs.items():
        cells = [f"{found[0]['weights'] / 1e9:.3f}", f"{_median(found, 'peak') / 1e9:.2f}"]
        cells += [_speed(found, base, name) for name in SPEEDS]
        print(f"| {kind} | {' | '.join(cells)} |")


def _speed(found: list[dict[str, Any]], base: list[dict[str, Any]] | None, name: str) -> str:
    text = f"{_median(found, name):.1f}"
    if base is None or base is found or not all(each[name] for each in base):
        return text
    ratios = [one[name] / other[name] for one, other in zip(found, base, strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{text} ({statistics.median(ratios):.2f} x, {spread})"


def _median(found: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(each[name] for each in found))


if __name__ == "__main__":
    main()
