"""Word error rates of a checkpoint at several batch sizes.

    python -m benchmarks.accuracy --fsdd ../shared/fsdd

The recordings are spoken digits that the demo checkpoint was not trained on, joined with pauses
and a little noise: 1 to 12 digits, 12 digits, and full chunks of 40 s. The last column says whether
all batch sizes gave the same tokens.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jiwer

from benchmarks import FSDD
from benchmarks.backend_answers import answer_all
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk, Generation, Request
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_recordings import DigitRecording, recording_builders


def build_requests(clips: list[DigitRecording]) -> list[Request]:
    """Return the request for the transcript of each clip."""
    task = Transcribe("English", align="none")
    return [
        request
        for index, clip in enumerate(clips)
        for request in task.requests(index, Chunk(0, clip.samples, clip.rate, 0))
    ]


def transcribe(
    backend: TorchBackend, clips: list[DigitRecording], batch_size: int
) -> list[Generation]:
    """Transcribe clips in batches; return the answers in the order of the clips."""
    backend.batch_size = batch_size
    answers = answer_all(backend, build_requests(clips))
    return sorted(answers, key=lambda answer: answer.request.job)


def clip_sets(fsdd: Path, split: str, short: int, full: int) -> dict[str, list[DigitRecording]]:
    """Make the recordings to measure on."""
    sets = {}
    for voices, builder in recording_builders(fsdd, split, seed=100).items():
        sets[f"{voices}, 1 to 12 digits"] = [builder.short(1 + i % 12) for i in range(short)]
        sets[f"{voices}, 12 digits"] = [builder.short(12) for _ in range(short // 2)]
        sets[f"{voices}, full 40 s"] = [builder.full() for _ in range(full)]
    return sets


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--fsdd", type=Path, default=FSDD)
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--batch-sizes", default="1,4,16")
    parser.add_argument("--short", type=int, default=48, help="short clips of each kind")
    parser.add_argument("--full", type=int, default=12, help="clips of 40 s of each kind")
    options = parser.parse_args()
    backend = open_torch_backend(resolve_model(options.model, offline=True), device="cpu")
    sizes = [int(size) for size in options.batch_sizes.split(",")]
    print(f"{'recordings':44}" + "".join(f"  batch {size:<4}" for size in sizes) + "  same tokens")
    started = time.perf_counter()
    for name, clips in clip_sets(options.fsdd, options.split, options.short, options.full).items():
        references = [digit_tasks.digit_words(clip.digits, "English") for clip in clips]
        runs = [transcribe(backend, clips, size) for size in sizes]
        rates = [
            100 * jiwer.wer(references, [answer.text for answer in answers]) for answers in runs
        ]
        same = all(
            [answer.tokens for answer in answers] == [answer.tokens for answer in runs[0]]
            for answers in runs
        )
        figures = "".join(f"  {rate:8.2f} %" for rate in rates)
        print(f"{name:44}{figures}  {'yes' if same else 'NO'}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
