"""A job of many recordings, killed repeatedly, with the bundled demo model."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import phi4audio_cli
from tools.torture.job_outputs import answer_keys, count_finished, output_digests

SAMPLES = Path(phi4audio_cli.__file__).parent / "demo" / "samples"
MIN_SECONDS, MAX_SECONDS = 2.0, 9.0
"""Lengths of the recordings in seconds."""


@dataclass(frozen=True)
class KilledRun:
    """One killed run and its progress."""

    seconds: float
    answers: int
    files: int


def make_recordings(folder: Path, count: int, rng: random.Random) -> list[Path]:
    """Cut recordings from the bundled samples."""
    import soundfile

    folder.mkdir(parents=True)
    sources = [soundfile.read(path) for path in sorted(SAMPLES.glob("*.flac"))]
    made = []
    for number in range(count):
        samples, rate = rng.choice(sources)
        length = min(len(samples), int(rng.uniform(MIN_SECONDS, MAX_SECONDS) * rate))
        start = rng.randint(0, len(samples) - length)
        path = folder / f"{number:02}.flac"
        soundfile.write(path, samples[start : start + length], rate)
        made.append(path)
    return made


def start_job(recordings: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the job."""
    return subprocess.Popen(
        [sys.executable, "-m", "phi4audio_cli", "transcribe", str(recordings), "-o", str(out),
         "--model", "demo", "--offline", "--device", "cpu", "--chunk-seconds", "3",
         "--batch-size", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill_repeatedly(
    recordings: Path, out: Path, total: int, times: int, rng: random.Random
) -> Iterator[KilledRun]:
    """Run the job and kill it at random moments.

    Args:
        recordings: Their folder.
        out: Folder of the outputs.
        total: Number of answers of the whole job.
        times: Number of kills.
        rng: Chooses the moments.
    """
    for left in range(times, 0, -1):
        known = sum(1 for _ in answer_keys(out))
        place = known + rng.uniform(0, 2 * (total - known) / (left + 1))
        process = start_job(recordings, out)
        began = time.monotonic()
        while process.poll() is None and sum(1 for _ in answer_keys(out)) < place:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))  # between answers, while outputs are written
        process.kill()
        process.wait()
        yield KilledRun(
            time.monotonic() - began, sum(1 for _ in answer_keys(out)), count_finished(out)
        )


def differences(whole: Path, out: Path) -> list[str]:
    """Return the differences between the killed job and the undisturbed one."""
    found = []
    if (theirs := output_digests(out)) != (ours := output_digests(whole)):
        names = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
        found.append(f"outputs differ: {', '.join(sorted(names))}")
    count = Counter(answer_keys(out))
    if twice := [key for key, number in count.items() if number > 1]:
        found.append(f"{len(twice)} chunks were answered twice")
    if set(count) != set(answer_keys(whole)):
        found.append("other chunks were answered")
    return found
