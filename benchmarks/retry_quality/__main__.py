#!/usr/bin/env python3
"""False alarms and misses of the doubts about answers, and what repairs are good for.

    python scripts/bench_repair.py                                    # made-up answers
    python scripts/bench_repair.py --model demo --fsdd ../shared/fsdd # and spoken digits

Made-up answers: what was really said again and again, and loops and refusals of a model; each kind
with halves as they are then heard. Spoken digits: full chunks of 40 s in telephone quality, and
one digit said 20 to 40 times, with and without repairs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.retry_quality import synthetic_answers as made_up

ROOT = Path(__file__).resolve().parents[2]


def print_synthetic_table(count: int) -> None:
    """Prints what became of made-up answers."""
    rng = np.random.default_rng(200)
    cases = [*made_up.spoken_repetitions(rng, count), *made_up.model_failures(rng, count)]
    print(f"{'made-up answers':28}  cases  asked again  replaced  flagged  wrong")
    for kind, found in made_up.measure(cases).items():
        print(
            f"{kind:28}  {found.cases:5}  {found.asked:11}  {found.replaced:8}  "
            f"{found.flagged:7}  {found.wrong:5}",
            flush=True,
        )


def print_spoken_table(model: str, fsdd: Path, split: str, count: int, batch_size: int) -> None:
    """Prints what repairs do to spoken digits."""
    from benchmarks.retry_quality import spoken_digits
    from phi4audio_cli.checkpoint.hub import resolve_model
    from phi4audio_cli.model.torch_backend import open_torch_backend

    backend = open_torch_backend(
        resolve_model(model, offline=True), device="cpu", batch_size=batch_size
    )
    sets = {
        "full chunks of 40 s": spoken_digits.make_full_chunks(fsdd, split, count),
        "one digit, 20 to 40 times": spoken_digits.make_repeated_digit(fsdd, split, count),
    }
    print(
        f"{'spoken digits, 8 kHz':26}  clips  WER before   after  suspected  wrongly  repaired  "
        "worse  flagged  missed"
    )
    for name, clips in sets.items():
        found = spoken_digits.measure(backend, clips)
        print(
            f"{name:26}  {found.clips:5}  {found.before:10.2%}  {found.after:6.2%}  "
            f"{found.suspected:9}  {found.wrongly:7}  {found.repaired:8}  {found.worse:5}  "
            f"{found.flagged:7}  {found.missed:6}",
            flush=True,
        )


def main() -> None:
    """Measures and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="made-up answers of each kind")
    parser.add_argument("--model", help="a checkpoint, such as demo; default: no spoken digits")
    parser.add_argument("--fsdd", type=Path, default=ROOT.parent / "shared" / "fsdd")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--clips", type=int, default=40, help="recordings of each kind")
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    started = time.perf_counter()
    print_synthetic_table(options.cases)
    if options.model:
        print_spoken_table(
            options.model, options.fsdd, options.split, options.clips, options.batch_size
        )
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
