"""Inject faults into jobs, and compare their outputs with those of an undisturbed job.

    python -m tools.torture faults             # every file operation fails in turn
    python -m tools.torture kills              # kill -9 at 20 random moments of 40 recordings

Prints a table; exits with 1 if an output is missing, left over or different, or an answer was
computed twice.
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

from tools.torture import process_kills
from tools.torture.file_faults import KILLED, FaultPlan, Mode, run_job, warm_up
from tools.torture.job_outputs import answer_keys, output_digests

SAMPLE_RATE = 16_000
MODES: tuple[Mode, ...] = ("error", "torn", "killed")


@dataclass
class FaultCounts:
    """Results for one kind of fault."""

    cases: int = 0
    codes: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def main() -> int:
    """Run the chosen experiment; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=("faults", "kills"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=int, default=40, help="of kills")
    parser.add_argument("--times", type=int, default=20, help="of kills")
    parser.add_argument("--every", type=int, default=1, help="of faults: test each N-th")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        if arguments.experiment == "faults":
            return run_faults(Path(folder), arguments.every)
        return run_kills(
            Path(folder), arguments.recordings, arguments.times, random.Random(arguments.seed)
        )


def run_faults(home: Path, every: int) -> int:
    """Let each file operation of a small job fail in turn; then run it again, undisturbed."""
    recordings = home / "recordings"
    recordings.mkdir()
    for number, seconds in enumerate((2.2, 0.5, 1.2)):
        write_tone(recordings / f"{number}.wav", seconds)
    warm_up(recordings, home / "first")
    report, whole = home / "operations", home / "whole"
    if run_job(recordings, whole, home / "whole.log", FaultPlan(report_file=report)) != 0:
        print((home / "whole.log").read_text())
        return 1
    rows: defaultdict[tuple[str, str], FaultCounts] = defaultdict(FaultCounts)
    operations = report.read_text().splitlines()
    for mode in MODES:
        for place, usual in enumerate(operations):
            if place % every or (mode == "torn" and not usual.startswith("write")):
                continue
            operation, code, problems = run_fault(home, FaultPlan(place, mode))
            row = rows[operation, mode]
            row.cases += 1
            row.codes.add(code)
            row.problems += problems
    return print_faults(rows)


def run_fault(home: Path, faults: FaultPlan) -> tuple[str, int, list[str]]:
    """Run the job with a fault, then without; return operation, exit code and problems."""
    out, log = home / "out", home / "log"
    shutil.rmtree(out, ignore_errors=True)
    faults.report_file = home / "fault"
    faults.report_file.unlink(missing_ok=True)
    code = run_job(home / "recordings", out, log, faults)
    operation = faults.report_file.read_text() if faults.report_file.exists() else "none"
    problems = []
    if (text := log.read_text()) and ("this is a bug" in text or "Traceback" in text):
        problems.append(f"{faults.mode} at {faults.index} ({operation}): {text}")
    if code not in (0, 4, 10, KILLED):
        problems.append(f"{faults.mode} at {faults.index} ({operation}): exit code {code}: {text}")
    again = run_job(home / "recordings", out, log, FaultPlan())
    if again != 0:
        problems.append(f"{operation}: the next run ended with {again}: {log.read_text()}")
    if output_digests(out) != output_digests(home / "whole"):
        problems.append(f"{faults.mode} at {faults.index} ({operation}): outputs differ")
    keys = list(answer_keys(out))
    if len(keys) != len(set(keys)):
        problems.append(f"{operation}: answers were computed twice")
    return operation, code, problems


def print_faults(rows: dict[tuple[str, str], FaultCounts]) -> int:
    """Print the table; return the exit code."""
    print(f"{'operation':24}  {'fault':7}  cases  exit codes   next run as undisturbed")
    for (operation, mode), row in sorted(rows.items()):
        codes = ", ".join(map(str, sorted(row.codes)))
        print(f"{operation:24}  {mode:7}  {row.cases:5}  {codes:11}  {not row.problems}")
    problems = [line for row in rows.values() for line in row.problems]
    print(f"{sum(row.cases for row in rows.values())} faults, {len(problems)} differences")
    for line in problems:
        print(line)
    return 1 if problems else 0


def run_kills(home: Path, count: int, times: int, rng: random.Random) -> int:
    """Kill a job repeatedly, then let it end."""
    recordings = home / "recordings"
    process_kills.make_recordings(recordings, count, rng)
    if process_kills.start_job(recordings, home / "whole").wait() != 0:
        print("the undisturbed job failed")
        return 1
    total = len(list(answer_keys(home / "whole")))
    print(f"{count} recordings, {total} answers undisturbed")
    print("kill  after s  answers kept  recordings done")
    made = process_kills.kill_repeatedly(recordings, home / "out", total, times, rng)
    for number, kill in enumerate(made, 1):
        print(f"{number:4}  {kill.seconds:7.2f}  {kill.answers:12}  {kill.files:15}", flush=True)
    if (code := process_kills.start_job(recordings, home / "out").wait()) != 0:
        print(f"the last run ended with {code}")
        return 1
    found = process_kills.differences(home / "whole", home / "out")
    print("\n".join(found) or f"{len(output_digests(home / 'out'))} outputs, all as undisturbed; "
          f"{len(list(answer_keys(home / 'out')))} answers, none computed twice")  # fmt: skip
    return 1 if found else 0


def write_tone(path: Path, seconds: float) -> None:
    """Write a quiet tone."""
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((3000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes())


if __name__ == "__main__":
    sys.exit(main())
