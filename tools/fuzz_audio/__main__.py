"""Decode thousands of damaged recordings; each must give audio or a clear error.

    python -m tools.fuzz_audio --count 2000

Small files of every format are damaged (bits, cuts, blocks, headers, two formats in one) and
decoded in a subprocess, as in a run. Prints the outcomes, and exits with 1 if one is wrong: an
unexpected exception, samples that are not finite, an endless recording, too much memory. A file's
number identifies it: `--first 1234 --count 1 --keep bad.bin` makes it again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from tools.fuzz_audio.decode_trial import OUTCOMES, DecodeTrial, run_trials

MEMORY_LIMIT = 1 << 30
"""Memory limit of decoding, in bytes."""

HANG_SECONDS = 30.0


def main() -> int:
    """Read the command line, decode, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="number of files")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="copy the last file to this path")
    arguments = parser.parse_args()

    begun = time.monotonic()
    done: list[DecodeTrial] = []
    numbers = range(arguments.first, arguments.first + arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        with SubprocessReader(hang_timeout=HANG_SECONDS, memory_limit=MEMORY_LIMIT) as reader:
            for trial in run_trials(numbers, arguments.seed, Path(folder), reader):
                done.append(trial)
                if trial.outcome in ("crashed", "hung", "memory", "WRONG"):
                    print(f"{trial.number} {trial.original}: {trial.outcome}: {trial.reason}")
        if arguments.keep:
            arguments.keep.write_bytes((Path(folder) / "fuzzed").read_bytes())
    print_table(done)
    peak = max(trial.peak for trial in done)
    print(f"{len(done)} files in {time.monotonic() - begun:.0f} s, peak {peak / 2**20:.0f} MiB")
    return int(peak > MEMORY_LIMIT or any(trial.outcome == "WRONG" for trial in done))


def print_table(done: list[DecodeTrial]) -> None:
    """Print the number of each outcome by format."""
    counts = Counter((trial.original, trial.outcome) for trial in done)
    totals = Counter(trial.outcome for trial in done)
    print(f"{'format':24}", *(f"{outcome:>8}" for outcome in OUTCOMES))
    for name in sorted({trial.original for trial in done}):
        print(f"{name:24}", *(f"{counts[name, outcome]:8}" for outcome in OUTCOMES))
    print(f"{'all':24}", *(f"{totals[outcome]:8}" for outcome in OUTCOMES))


if __name__ == "__main__":
    sys.exit(main())
