"""False alarms and misses of the defect checks, and the effect of retries.

    python -m benchmarks.retry_quality                                    # synthetic answers
    python -m benchmarks.retry_quality --model demo --fsdd ../shared/fsdd # and spoken digits

Synthetic answers: real repetitions, and loops and refusals of a model, each with the answers about
its halves. Spoken digits: full chunks of 40 s in telephone quality, and one digit repeated 20 to 40
times, with and without retries.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks import FSDD
from benchmarks.retry_quality import synthetic_answers


def print_synthetic_table(count: int) -> None:
    """Print the results for synthetic answers."""
    rng = np.random.default_rng(200)
    cases = [
        *synthetic_answers.spoken_repetitions(rng, count),
        *synthetic_answers.model_failures(rng, count),
    ]
    print(f"{'synthetic answers':28}  cases      retried  replaced  flagged  wrong")
    for kind, found in synthetic_answers.measure(cases).items():
        print(
            f"{kind:28}  {found.cases:5}  {found.retried:11}  {found.replaced:8}  "
            f"{found.flagged:7}  {found.wrong:5}",
            flush=True,
        )


def print_spoken_table(model: str, fsdd: Path, split: str, count: int, batch_size: int) -> None:
    """Print the effect of retries on spoken digits."""
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
        f"{'spoken digits, 8 kHz':26}  clips  WER before   after  suspected  falsely  replaced  "
        "worse  flagged  missed"
    )
    for name, clips in sets.items():
        found = spoken_digits.measure(backend, clips)
        print(
            f"{name:26}  {found.clips:5}  {found.before:10.2%}  {found.after:6.2%}  "
            f"{found.suspected:9}  {found.false_alarms:7}  {found.replaced:8}  {found.worse:5}  "
            f"{found.flagged:7}  {found.missed:6}",
            flush=True,
        )


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="synthetic answers of each kind")
    parser.add_argument("--model", help="a checkpoint, such as demo; default: no spoken digits")
    parser.add_argument("--fsdd", type=Path, default=FSDD)
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
