"""Time from the start of the process to the first chunk in the network, by step.

    python -m benchmarks.startup [--model demo mid] [--before COMMIT] [--rounds 3]

`library` is a script with transformers' AutoModelForCausalLM.from_pretrained, feature extractor and
tokenizer, and one clip; `ours` is `phi4audio transcribe` on that clip; `before` is the same at a
commit of this repository, if one is given (from the one on that introduced benchmarks/startup; its
module names must be those that phi4audio_startup.py hooks). Each run is a process of its own, in
turn, and ends when the encoder is called. Prints the median seconds from the start to the end of
each step, and the processor time of the process until then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import ROOT, SAMPLES

STEPS = ("imported", "opened", "weights in", "first chunk")


def main() -> None:
    """Measure all ways, in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=["demo", "mid"], help="demo, mid or a folder")
    parser.add_argument("--before", help="a commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        trees = {"library": ROOT, "ours": ROOT}
        with worktree(options.before, Path(scratch)) as tree:
            if tree:
                trees["before"] = tree
            for model in options.model:
                compare_ways(model, options.dtype, trees, options.rounds)


@contextlib.contextmanager
def worktree(commit: str | None, scratch: Path) -> Iterator[Path | None]:
    """Check a commit out into a scratch folder while the context lasts."""
    if commit is None:
        yield None
        return
    tree = scratch / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", str(tree), commit], check=True, capture_output=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare_ways(model: str, dtype: str, trees: dict[str, Path], rounds: int) -> None:
    """Run every way in several rounds; print a line for each."""
    from benchmarks.random_models import benchmark_checkpoint

    folder = benchmark_checkpoint(model)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for _ in range(rounds):
        for name, tree in trees.items():
            found[name].append(run_once(name, tree, folder, dtype))
    print(f"{model:8} " + " ".join(f"{step:>12}" for step in STEPS) + f" {'processor':>12}")
    for name, runs in found.items():
        columns = (statistics.median(run[step] for run in runs) for step in (*STEPS, "processor"))
        print(f"{name:8} " + " ".join(f"{seconds:12.2f}" for seconds in columns))
    for base in ("library", "before"):
        if base in found:
            pairs = list(zip(found[base], found["ours"], strict=True))
            print(
                "  "
                + ", ".join(
                    format_ratio(base, step, pairs) for step in ("first chunk", "processor")
                )
            )


def format_ratio(
    base: str, step: str, pairs: list[tuple[dict[str, float], dict[str, float]]]
) -> str:
    """Return the speed of ours in relation to a baseline, with the range over the rounds."""
    ratios = [slow[step] / fast[step] for slow, fast in pairs]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{base} / ours by {step}: {statistics.median(ratios):.2f} x ({spread})"


def run_once(name: str, tree: Path, folder: str, dtype: str) -> dict[str, float]:
    """Start one process; return the seconds of its steps."""
    program = "transformers_startup" if name == "library" else "phi4audio_startup"
    clip = str(sorted(SAMPLES.glob("*.flac"))[0])
    with tempfile.TemporaryDirectory() as out:
        environment = os.environ | {
            "PYTHONPATH": f"{tree}{os.pathsep}{ROOT}",
            "STARTED": repr(time.time()),
        }
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.startup.{program}", folder, clip, dtype, out],
            env=environment, cwd=out, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    steps: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return steps


if __name__ == "__main__":
    main()
