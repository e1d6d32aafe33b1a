#!/usr/bin/env python3
"""Does what must not matter to jobs, and compares their outputs with an undisturbed job's.

    python scripts/torture.py faults             # every operation on a file goes wrong in turn
    python scripts/torture.py kills              # kill -9 at 20 random moments of 40 recordings

Prints a table; exits with 1 where anything is lost, left over, done twice or different.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import wave
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from torturing import kills
from torturing.faults import KILLED, Faults, Mode, preload, run_job
from torturing.outcome import answers, outputs

RATE = 16_000
MODES: tuple[Mode, ...] = ("error", "torn", "killed")


@dataclass
class Row:
    """What came of one kind of fault."""

    cases: int = 0
    codes: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("faults", "kills"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=int, default=40, help="of kills")
    parser.add_argument("--times", type=int, default=20, help="of kills")
    parser.add_argument("--every", type=int, default=1, help="of faults: take each N-th")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        if arguments.what == "faults":
            return torture_by_faults(Path(folder), arguments.every)
        return torture_by_kills(
            Path(folder), arguments.recordings, arguments.times, random.Random(arguments.seed)
        )


def torture_by_faults(home: Path, every: int) -> int:
    """Let each operation of a small job go wrong in turn; then run it again, undisturbed."""
    recordings = home / "recordings"
    recordings.mkdir()
    for number, seconds in enumerate((2.2, 0.5, 1.2)):
        write_tone(recordings / f"{number}.wav", seconds)
    preload(recordings, home / "first")
    told, whole = home / "told", home / "whole"
    if run_job(recordings, whole, home / "whole.log", Faults(told=told)) != 0:
        print((home / "whole.log").read_text())
        return 1
    rows: defaultdict[tuple[str, str], Row] = defaultdict(Row)
    operations = told.read_text().splitlines()
    for mode in MODES:
        for place, usual in enumerate(operations):
            if place % every or (mode == "torn" and not usual.startswith("write")):
                continue
            operation, code, wrong = one_fault(home, Faults(place, mode))
            row = rows[operation, mode]
            row.cases += 1
            row.codes.add(code)
            row.wrong += wrong
    return print_faults(rows)


def one_fault(home: Path, faults: Faults) -> tuple[str, int, list[str]]:
    """Run the job with a fault and then without; return the operation, the code, what is wrong."""
    out, log = home / "out", home / "log"
    shutil.rmtree(out, ignore_errors=True)
    faults.told = home / "fault"
    faults.told.unlink(missing_ok=True)
    code = run_job(home / "recordings", out, log, faults)
    operation = faults.told.read_text() if faults.told.exists() else "none came"
    wrong = []
    if (text := log.read_text()) and ("this is a bug" in text or "Traceback" in text):
        wrong.append(f"{faults.mode} at {faults.place} ({operation}): {text}")
    if code not in (0, 4, 10, KILLED):
        wrong.append(f"{faults.mode} at {faults.place} ({operation}): exit code {code}: {text}")
    again = run_job(home / "recordings", out, log, Faults())
    if again != 0:
        wrong.append(f"{operation}: the next run ended with {again}: {log.read_text()}")
    if outputs(out) != outputs(home / "whole"):
        wrong.append(f"{faults.mode} at {faults.place} ({operation}): outputs differ")
    keys = list(answers(out))
    if len(keys) != len(set(keys)):
        wrong.append(f"{operation}: answers were given twice")
    return operation, code, wrong


def print_faults(rows: dict[tuple[str, str], Row]) -> int:
    """Print the table; return the exit code."""
    print(f"{'operation':24}  {'fault':7}  cases  exit codes   then as undisturbed")
    for (operation, mode), row in sorted(rows.items()):
        codes = ", ".join(map(str, sorted(row.codes)))
        print(f"{operation:24}  {mode:7}  {row.cases:5}  {codes:11}  {not row.wrong}")
    problems = [line for row in rows.values() for line in row.wrong]
    print(f"{sum(row.cases for row in rows.values())} faults, {len(problems)} differences")
    for line in problems:
        print(line)
    return 1 if problems else 0


def torture_by_kills(home: Path, count: int, times: int, chance: random.Random) -> int:
    """Kill a job again and again, and let it end."""
    recordings = home / "recordings"
    kills.make_recordings(recordings, count, chance)
    if kills.start(recordings, home / "whole").wait() != 0:
        print("the undisturbed job failed")
        return 1
    total = len(list(answers(home / "whole")))
    print(f"{count} recordings, {total} answers undisturbed")
    print("kill  after s  answers kept  recordings done")
    made = kills.killed(recordings, home / "out", total, times, chance)
    for number, kill in enumerate(made, 1):
        print(f"{number:4}  {kill.seconds:7.2f}  {kill.answers:12}  {kill.files:15}", flush=True)
    if (code := kills.start(recordings, home / "out").wait()) != 0:
        print(f"the last run ended with {code}")
        return 1
    found = kills.differences(home / "whole", home / "out")
    print("\n".join(found) or f"{len(outputs(home / 'out'))} outputs, all as undisturbed; "
          f"{len(list(answers(home / 'out')))} answers, none given twice")  # fmt: skip
    return 1 if found else 0


def write_tone(path: Path, seconds: float) -> None:
    """Write a quiet tone."""
    times = np.arange(int(seconds * RATE)) / RATE
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((3000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes())


if __name__ == "__main__":
    sys.exit(main())
