"""Errors of word times by their source, and the cost of the alignment pass.

    python -m benchmarks.timestamp_accuracy --fsdd ../shared/fsdd

Measured on the bundled samples and on spoken digits the demo checkpoint was not trained on, joined
with pauses and noise. Only correct words count. `--hide LAYER:HEAD,...` hides heads from the
aligner, such as those of the demo that were trained to follow the audio: the real model has no such
heads.
"""

from __future__ import annotations

import argparse
import difflib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import FSDD, SAMPLES
from benchmarks.backend_answers import answer_all
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.model import torch_backend
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.tasks.transcribe_task import AlignMode, Transcribe
from phi4audio_cli.types import WIDE_BAND, Chunk, Generation, Word
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_corpus import read_fsdd
from training.spoken_digits.digit_recordings import RecordingBuilder

WordTimes = list[tuple[str, float, float]]
Recording = tuple[np.ndarray, int, WordTimes]


def samples() -> Iterator[Recording]:
    """Yield the bundled samples with the true time of every word."""
    for reference in sorted(SAMPLES.glob("*.ref.json")):
        audio = reference.with_name(reference.name.replace(".ref.json", ".flac"))
        words = json.loads(reference.read_text(encoding="utf-8"))["words"]
        truth = [(word["word"], word["start"], word["end"]) for word in words]
        yield *decoded(audio), truth


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """Read a recording as the tool does."""
    with open_audio(path) as recording:
        return np.concatenate(list(recording.blocks())), recording.info.sample_rate


def digits(fsdd: Path, kind: str, count: int) -> Iterator[Recording]:
    """Yield joined digits: `short` ones of 3 to 12, or `full` chunks of 40 s."""
    builder = RecordingBuilder(read_fsdd(fsdd, "test"), WIDE_BAND, seed=7)
    for index in range(count):
        clip = builder.full() if kind == "full" else builder.short(3 + index % 10)
        words = [digit_tasks.digit_words([digit], "English") for digit in clip.digits]
        truth = [(word, *span) for word, span in zip(words, clip.spans, strict=True)]
        yield clip.samples, clip.rate, truth


def transcribe_words(backend: TorchBackend, recording: Recording, align: AlignMode) -> list[Word]:
    """Transcribe one recording with word times."""
    audio, rate, _ = recording
    task = Transcribe("English", align=align)
    chunks: list[Chunk] = list(chunk_speech([audio], rate, 40.0, SileroDetector()))
    feed = [request for chunk in chunks for request in task.requests(0, chunk)]
    answers = sorted(answer_all(backend, feed), key=_chunk_index)
    result = task.assemble(answers, len(audio) / rate)
    return [word for segment in result.segments for word in segment.words]


def _chunk_index(answer: Generation) -> int:
    assert answer.request.chunk is not None
    return answer.request.chunk.index


def errors(transcribed: list[Word], truth: WordTimes) -> tuple[list[float], list[float]]:
    """Return the errors of starts and ends of the correct words, in seconds."""
    expected = [word for word, _, _ in truth]
    words = [word.word.strip() for word in transcribed]
    starts, ends = [], []
    for block in difflib.SequenceMatcher(
        None, expected, words, autojunk=False
    ).get_matching_blocks():
        for offset in range(block.size):
            _, start, end = truth[block.a + offset]
            found = transcribed[block.b + offset]
            starts.append(abs(found.start - start))
            ends.append(abs(found.end - end))
    return starts, ends


def percentiles(values: list[float]) -> str:
    """Return median and 90th percentile in milliseconds."""
    median, high = np.percentile(values, [50, 90]) * 1000
    return f"{median:6.0f} {high:6.0f}"


def hide_heads(heads: set[tuple[int, int]]) -> None:
    """Hide heads from the aligner: their queries are zero, so that they attend to everything."""
    rescore: Callable[..., None] = Phi4Audio.rescore

    def rescore_without(network: Phi4Audio, *given: Any) -> None:
        *others, observe = given

        def observe_others(layer: int, queries: torch.Tensor) -> None:
            hidden = [head for number, head in heads if number == layer]
            queries = queries.clone()
            queries[hidden] = 0
            observe(layer, queries)

        rescore(network, *others, observe_others)

    setattr(Phi4Audio, "rescore", rescore_without)  # noqa: B010


def alignment_share(backend: TorchBackend, recordings: list[Recording]) -> float:
    """Return the share of the alignment pass in the time of the whole, with VAD and features."""
    spent = 0.0
    run = torch_backend.align_words  # type: ignore[attr-defined]

    def timed(*args: object, **kwargs: object) -> object:
        nonlocal spent
        begun = time.perf_counter()
        found = run(*args, **kwargs)  # type: ignore[arg-type]
        spent += time.perf_counter() - begun
        return found

    torch_backend.align_words = timed  # type: ignore[attr-defined, assignment]
    begun = time.perf_counter()
    for recording in recordings:
        transcribe_words(backend, recording, "attention")
    torch_backend.align_words = run  # type: ignore[attr-defined]
    return spent / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--fsdd", type=Path, default=FSDD)
    parser.add_argument("--count", type=int, default=20, help="short recordings; full ones: half")
    parser.add_argument("--hide", default="", help="heads to hide, such as 2:0,2:1")
    options = parser.parse_args()
    backend = open_torch_backend(resolve_model(options.model, offline=True), device="cpu")
    if options.hide:
        pairs = (pair.split(":") for pair in options.hide.split(","))
        hide_heads({(int(layer), int(head)) for layer, head in pairs})
    sets = {"bundled samples": list(samples())}
    if options.fsdd.is_dir():
        sets["3 to 12 digits"] = list(digits(options.fsdd, "short", options.count))
        sets["full 40 s"] = list(digits(options.fsdd, "full", options.count // 2))
    print(f"{'ms: median, 90 %':20} {'words':>6} {'align':>10}   starts        ends")
    for name, recordings in sets.items():
        for align in ("attention", "speech"):
            starts: list[float] = []
            ends: list[float] = []
            for recording in recordings:
                found = errors(transcribe_words(backend, recording, align), recording[2])
                starts += found[0]
                ends += found[1]
            row = f"{percentiles(starts)} {percentiles(ends)}"
            print(f"{name:20} {len(starts):6} {align:>10} {row}", flush=True)
    every = [recording for recordings in sets.values() for recording in recordings]
    print(f"the extra pass takes {100 * alignment_share(backend, every):.1f} % of the run")


if __name__ == "__main__":
    main()
