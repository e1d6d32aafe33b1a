"""Many short recordings through one process: does its memory grow?

    python -m benchmarks.memory_growth --files 2000 --out leak

Clips of a bundled recording are written to files and transcribed by one `phi4audio transcribe`.
After each file its resident memory and that of its subprocesses are read. Memory is steady if its
mean over the last quarter of the files is within 2 % of the second quarter's. Writes memory.csv and
memory.svg; the exit code is 1 if memory grows.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

from benchmarks import SAMPLES

MAX_GROWTH = 0.02
DONE = re.compile(r"\[\d+/\d+\] ")
FORMATS = (("wav", 1), ("flac", 1), ("wav", 2), ("ogg", 1))
"""Formats in turn, each with the divisor of the 16 kHz sample rate."""

WIDTH, HEIGHT, MARGIN = 900, 360, 60


def make_files(folder: Path, count: int, seed: int = 0) -> None:
    """Write clips of 0.5 to 3 s of the longest sample."""
    rng = np.random.default_rng(seed)
    speech, rate = soundfile.read(SAMPLES / "interview.flac", dtype="float32")
    for index in range(count):
        length = int(rng.uniform(0.5, 3.0) * rate)
        start = int(rng.integers(0, len(speech) - length))
        kind, divisor = FORMATS[index % len(FORMATS)]
        name = folder / f"{index:05}.{kind}"
        soundfile.write(name, speech[start : start + length : divisor], rate // divisor)


def transcribe(source: Path, out: Path, arguments: Sequence[str]) -> Iterator[tuple[float, float]]:
    """Run the command; yield its memory and its children's, in MB, after each file."""
    command = [sys.executable, "-m", "phi4audio_cli", "transcribe", source, "--model", "demo"]
    command += ["--offline", "--device", "cpu", "--dtype", "float32", "-o", out, *arguments]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        process = psutil.Process(running.pid)
        for line in running.stderr or ():
            if DONE.search(line):
                yield resident_memory(process)
            else:
                print(line, end="", file=sys.stderr)
    if running.returncode != 0:
        sys.exit(f"the command ended with {running.returncode}")


def resident_memory(process: psutil.Process) -> tuple[float, float]:
    """Return the resident memory of a process and of its subprocesses, in MB."""
    own = process.memory_info().rss / 1e6
    children = 0.0
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            children += child.memory_info().rss / 1e6
    return own, children


def quarter_growth(megabytes: Sequence[float]) -> tuple[float, float, float]:
    """Return the means of the second and the last quarter, and the growth between them."""
    second, last = (float(np.mean(np.array_split(megabytes, 4)[index])) for index in (1, 3))
    return second, last, last / second - 1


def draw_memory(own: Sequence[float], others: Sequence[float]) -> str:
    """Draw both curves as SVG, from 0 up, with the second and the last quarter marked."""
    top = 1.1 * max(*own, *others, 1.0)

    def x(index: float) -> float:
        return MARGIN + index / len(own) * (WIDTH - 2 * MARGIN)

    def y(megabytes: float) -> float:
        return HEIGHT - MARGIN - megabytes / top * (HEIGHT - 2 * MARGIN)

    def text(left: float, height: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{left:.0f}" y="{height:.0f}" text-anchor="{anchor}">{words}</text>'

    def curve(values: Sequence[float], colour: str) -> str:
        points = " ".join(f"{x(index):.1f},{y(each):.1f}" for index, each in enumerate(values))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    quarter = len(own) / 4
    marks = [
        f'<rect x="{x(place * quarter):.0f}" y="{MARGIN}" width="{x(quarter) - x(0):.0f}"'
        f' height="{HEIGHT - 2 * MARGIN}" fill="#eee"/>'
        for place in (1, 3)
    ]
    second, last, more = quarter_growth(own)
    title = f"second quarter {second:.1f} MB, last quarter {last:.1f} MB: {more:+.2%}"
    ticks = [text(x(len(own) * part / 4), HEIGHT - MARGIN + 20, f"{len(own) * part // 4}")
             for part in range(5)]  # fmt: skip
    levels = [text(MARGIN - 8, y(level) + 4, f"{level:.0f}", "end")
              for level in np.linspace(0, top, 5)]  # fmt: skip
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
            ' font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *marks,
            text(WIDTH / 2, MARGIN / 2, title),
            *ticks,
            *levels,
            text(WIDTH / 2, HEIGHT - 12, "files done; resident memory in MB"),
            curve(own, "#1f6fb4"),
            curve(others, "#d08020"),
            text(WIDTH - MARGIN, y(own[-1]) - 8, "phi4audio", "end"),
            text(WIDTH - MARGIN, y(others[-1]) - 8, "the decoder's process", "end"),
            "</svg>\n",
        ]
    )


def main() -> None:
    """Make the files, transcribe them, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("leak"), help="folder for CSV and picture")
    options, more = parser.parse_known_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        recordings = Path(scratch) / "recordings"
        recordings.mkdir()
        make_files(recordings, options.files)
        measured = list(transcribe(recordings, Path(scratch) / "texts", more))
    own, others = zip(*measured, strict=True)
    with (options.out / "memory.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "megabytes", "children_megabytes"])
        writer.writerows([n, f"{a:.2f}", f"{b:.2f}"] for n, (a, b) in enumerate(measured, 1))
    (options.out / "memory.svg").write_text(draw_memory(own, others), encoding="utf-8")
    second, last, grown = quarter_growth(own)
    print(f"{len(own)} files, most {max(own):.1f} MB, decoder's process {max(others):.1f} MB")
    print(f"second quarter {second:.1f} MB, last quarter {last:.1f} MB: {grown:+.2%}")
    sys.exit(int(grown > MAX_GROWTH))


if __name__ == "__main__":
    main()
