"""One long recording through the command: word and time errors, memory, speed.

    python -m benchmarks.long_recording --fsdd ../shared/fsdd --minutes 30

Clips of spoken digits that the demo checkpoint was not trained on are joined with pauses, noise and
music, written to a file, and transcribed by `phi4audio transcribe` in a process of its own. The
true time of every word is known.
"""

from __future__ import annotations

import argparse
import difflib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from benchmarks import FSDD
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_corpus import read_fsdd
from training.spoken_digits.digit_recordings import RecordingBuilder

RATE = 16_000
WordTimes = list[tuple[str, float, float]]


def make_recording(
    builder: RecordingBuilder, minutes: float, seed: int
) -> tuple[np.ndarray, WordTimes]:
    """Join clips of speech of up to 40 s with pauses, noise and music."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    truth: WordTimes = []
    used = 0
    while used < minutes * 60 * RATE:
        clip = builder.short(int(rng.integers(8, 60)))
        offset = used / RATE
        for digit, (start, end) in zip(clip.digits, clip.spans, strict=True):
            truth.append(
                (digit_tasks.digit_words([digit], "English"), offset + start, offset + end)
            )
        parts += [clip.samples, filler_audio(rng)]
        used += len(parts[-2]) + len(parts[-1])
    return np.concatenate(parts), truth


def filler_audio(rng: np.random.Generator) -> np.ndarray:
    """Make a pause, some noise, or some music."""
    length = int(rng.uniform(0.5, 12) * RATE)
    kind = rng.integers(3)
    if kind == 0:
        return np.zeros(length, np.float32)
    if kind == 1:
        return (0.02 * rng.standard_normal(length)).astype(np.float32)
    seconds = np.arange(length) / RATE
    chord = sum(np.sin(2 * np.pi * pitch * seconds) for pitch in (220.0, 277.2, 329.6))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 0.8 * seconds)
    return (0.05 * swell * chord).astype(np.float32)


def transcribe(path: Path, model: str, folder: Path) -> tuple[float, float]:
    """Run the command; return its seconds and its peak memory in GB."""
    command: list[str | Path] = [sys.executable, "-m", "phi4audio_cli", "transcribe", path]
    command += ["--model", model, "--offline", "--device", "cpu"]
    command += ["-o", folder, "-f", "json,srt", "-l", "English"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def start_errors(words: list[dict[str, object]], truth: WordTimes) -> list[tuple[float, float]]:
    """Return start and error of the start of each correct word, in seconds."""
    expected = [word for word, _, _ in truth]
    transcribed = [str(word["word"]).strip() for word in words]
    found = []
    for block in difflib.SequenceMatcher(
        None, expected, transcribed, autojunk=False
    ).get_matching_blocks():
        for offset in range(block.size):
            start = truth[block.a + offset][1]
            found.append((start, abs(float(words[block.b + offset]["start"]) - start)))  # type: ignore[arg-type]
    return found


def main() -> None:
    """Make, transcribe, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--fsdd", type=Path, default=FSDD)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--keep", type=Path, help="folder where recording and outputs stay")
    options = parser.parse_args()
    builder = RecordingBuilder(read_fsdd(options.fsdd, "test"), RATE, seed=11)
    samples, truth = make_recording(builder, options.minutes, seed=12)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "long.flac", np.clip(samples, -1, 1), RATE)
        seconds, memory = transcribe(folder / "long.flac", options.model, folder)
        result = json.loads((folder / "long.json").read_text(encoding="utf-8"))
    words = [word for segment in result["segments"] for word in segment.get("words", [])]
    duration = len(samples) / RATE
    reference = " ".join(word for word, _, _ in truth)
    print(f"{duration / 60:.1f} minutes, {len(truth)} words, {len(result['segments'])} segments")
    print(f"WER {100 * jiwer.wer(reference, result['text']):.2f} %")
    found = start_errors(words, truth)
    for index, part in enumerate(("beginning", "middle", "end")):
        low, high = duration * index / 3, duration * (index + 1) / 3
        errors = 1000 * np.array([error for start, error in found if low <= start < high])
        median, most = np.percentile(errors, [50, 90])
        print(f"word starts, {part:9}: median {median:.0f} ms, 90 % {most:.0f} ms")
    print(f"peak memory {memory:.2f} GB, {seconds:.0f} s, RTFx {duration / seconds:.1f}")


if __name__ == "__main__":
    main()
