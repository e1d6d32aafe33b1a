"""Speed of phi4audio and of other ways to run this model, on the same clips and weights.

    python -m benchmarks.speed                  # the mid-size random checkpoint, forced lengths
    python -m benchmarks.speed --model DIR      # a stripped checkpoint, `demo` or `full`

One process per variant and round; variants take turns. `card` is the model card's loop, one clip at
a time, and `leaderboard` has padded, unsorted batches; both use transformers' class and its
generate. `ours` is phi4audio without word times, `ours+words` with them; `static` is `ours` in
sorted batches that wait for their longest answer. Prints a table; --json writes it. `steal` is the
share of processor time that a hypervisor gave to others: runs with much of it are not comparable.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.random_models import benchmark_checkpoint
from phi4audio_cli.process_memory import peak_memory

VARIANTS = ("card", "leaderboard", "static", "ours", "ours+words")
MAX_CHUNK_SECONDS = 40
"""Longest chunk."""


def main() -> None:
    """Run one variant, or all of them in processes of their own."""
    options = parse()
    if options.one:
        print(json.dumps(run_one(options)))
        return
    options.model = benchmark_checkpoint(options.model)
    with tempfile.TemporaryDirectory() as scratch:
        table = compare(options, Path(scratch))
    print_table(table)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    if options.picture:
        from benchmarks.speed.stage_chart import draw_stages

        options.picture.write_text(draw_stages(table), encoding="utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="mid", help="mid, full, demo, or a stripped checkpoint")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument(
        "--long",
        type=float,
        metavar="MINUTES",
        help="one recording of this length in place of clips; for `ours` only",
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="file for a chart of the stages, as SVG")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Measure all variants, in turn, and the limits of the machine."""
    import torch

    from benchmarks.speed.clips import make_clips, make_long_clip, read_clip, save_clips
    from benchmarks.speed.machine_limits import measure_cost, measure_machine, minimum_seconds
    from phi4audio_cli.types import WIDE_BAND

    forced = "demo" not in Path(options.model).parts
    work = (
        make_long_clip(scratch, options.long)
        if options.long
        else make_clips(scratch, options.clips, options.seed, forced=forced)
    )
    save_clips(work, scratch / "work.json")
    seconds = sum(each.seconds for each in work)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.variants}
    for _ in range(options.rounds):
        for name, found in runs.items():
            found.append(run_in_subprocess(options, name, scratch / "work.json"))
            speed, steal = seconds / found[-1]["seconds"], found[-1]["steal"]
            print(f"{name}: RTFx {speed:.2f}, steal {100 * steal:.1f}%", file=sys.stderr)
    machine = measure_machine(options.device, getattr(torch, options.dtype))
    longest = read_clip(max(work, key=lambda each: each.seconds).path)[
        : MAX_CHUNK_SECONDS * WIDE_BAND
    ]
    cost = measure_cost(Path(options.model), longest, options.device, options.dtype)
    tokens = next(iter(runs.values()))[0]["tokens"]
    return {
        "audio_seconds": seconds,
        "clips": len(work),
        "batch": options.batch,
        "machine": {"flops": machine.flops, "bandwidth": machine.bandwidth},
        "limit_seconds": minimum_seconds(machine, cost, seconds, tokens, options.batch),
        "runs": runs,
    }


def run_in_subprocess(options: argparse.Namespace, name: str, work: Path) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    import psutil

    psutil.cpu_times_percent()  # the next call measures from here
    command = [sys.executable, "-m", "benchmarks.speed", "--one", name, "--work", str(work)]
    for option in ("model", "batch", "device", "dtype"):
        command += [f"--{option}", str(getattr(options, option))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    steal = getattr(psutil.cpu_times_percent(), "steal", 0.0)  # on Linux only
    return {**found, "steal": steal / 100}


def run_one(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one variant in this process."""
    import torch

    from benchmarks.speed.clips import load_clips
    from benchmarks.speed.phi4audio_run import run_phi4audio
    from benchmarks.speed.transformers_run import run_transformers
    from phi4audio_cli.tasks.transcribe_task import AlignMode

    folder, work = Path(options.model), load_clips(options.work)
    if options.one not in ("card", "leaderboard"):
        align: AlignMode = "attention" if options.one == "ours+words" else "none"
        found = run_phi4audio(
            folder,
            work,
            batch=options.batch,
            device=options.device,
            dtype=options.dtype,
            align=align,
            static=options.one == "static",
        )
    else:
        batch = 1 if options.one == "card" else options.batch
        dtype = getattr(torch, options.dtype)
        found = run_transformers(folder, work, batch=batch, device=options.device, dtype=dtype)
    if options.device.startswith("cuda"):
        found["peak_memory"] = torch.cuda.max_memory_allocated()
    else:
        found["peak_memory"] = peak_memory() or 0
    return found


def print_table(table: dict[str, Any]) -> None:
    """Print the variants, their ratios, and the stages of `ours` with their limits."""
    audio, runs = table["audio_seconds"], table["runs"]
    print(f"{table['clips']} clips, {audio:.0f} s of audio, batch {table['batch']}")
    print(
        f"{'':12} {'RTFx':>7} {'spread':>13} {'tokens/s':>9} {'padding':>8} {'memory GB':>10}"
        f" {'steal':>7}"
    )
    for name, found in runs.items():
        speeds = [audio / run["seconds"] for run in found]
        rate = statistics.median(run["tokens"] / run["seconds"] for run in found)
        spread = f"{min(speeds):.2f}-{max(speeds):.2f}"
        memory = max(run["peak_memory"] for run in found) / 1e9
        steal = statistics.median(run["steal"] for run in found)
        print(
            f"{name:12} {statistics.median(speeds):7.2f} {spread:>13} {rate:9.1f}"
            f" {100 * found[0]['padding']:7.1f}% {memory:10.2f} {100 * steal:6.1f}%"
        )
    for base in ("card", "leaderboard", "static"):
        if base in runs and "ours" in runs:
            pairs = zip(runs[base], runs["ours"], strict=True)
            ratios = [slow["seconds"] / fast["seconds"] for slow, fast in pairs]
            print(
                f"ours / {base}: {statistics.median(ratios):.2f} x"
                f" ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    for name in ("static", "ours"):
        if name in runs:
            first = runs[name][0]
            print(f"{name}: {first['steps']} steps of {first['rows_per_step']:.1f} rows")
    if "ours" in runs:
        print_stages(runs["ours"], table["limit_seconds"])


def print_stages(found: list[dict[str, Any]], limits: dict[str, float]) -> None:
    """Print the seconds of each stage, and their ratio to the limit of the machine."""
    wall = statistics.median(run["seconds"] for run in found)
    print(f"{'stage':14} {'s':>8} {'of wall':>8} {'limit s':>8} {'x limit':>8}")
    for stage in found[0]["stages"]:
        spent = statistics.median(run["stages"].get(stage, 0.0) for run in found)
        limit = limits.get(stage)
        far = f"{limit:8.2f} {spent / limit:8.2f}" if limit else ""
        print(f"{stage:14} {spent:8.2f} {100 * spent / wall:7.1f}% {far}")
    print(f"{'wall':14} {wall:8.2f} {'':8} {sum(limits.values()):8.2f}")
    print("* on one core, in a process that reads ahead; waiting: time until its next chunk")


if __name__ == "__main__":
    main()
