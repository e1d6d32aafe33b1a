"""Agreement of quantized models with the unquantized model, on recordings of digits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer

from benchmarks.backend_answers import answer_all
from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.doctor.audio_checks import bundled_reference, bundled_sample
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import WIDE_BAND, Chunk, Generation, Request, Samples
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_corpus import read_fsdd
from training.spoken_digits.digit_recordings import PHONE_RATE, RecordingBuilder

BUNDLED_SAMPLES = ("interview", "medium", "pauses", "phone", "short")
BATCHES = (1, 4, 16)
SEED = 100


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and its reference text."""

    samples: Samples
    rate: int
    reference: str


def print_agreement(options: argparse.Namespace) -> None:
    """Print a table: error rates, tokens equal to the unquantized model's, batches compared."""
    sets = {"bundled samples": list(_bundled())}
    if options.fsdd.is_dir():
        sets["spoken digits, 16 kHz"] = list(_digits(options.fsdd, WIDE_BAND, options.clips))
        sets["spoken digits, 8 kHz"] = list(_digits(options.fsdd, PHONE_RATE, options.clips))
    print("\n| recordings | weights | WER % | tokens as unquantized % | answers as unquantized |"
          " batches of 1, 4, 16 |")  # fmt: skip
    print("| --- |" + " --- |" * 5)
    folder, place = Path(options.model), {"device": options.device, "dtype": options.dtype}
    backends = {
        kind: open_torch_backend(folder, **place, quantize=kind) for kind in options.variants
    }
    for name, clips in sets.items():
        base: list[tuple[int, ...]] = []
        for kind in options.variants:
            runs = [_transcribe(backends[kind], clips, size) for size in BATCHES]
            tokens = [[answer.tokens for answer in answers] for answers in runs]
            base = base or tokens[0]
            same = "same tokens" if all(one == tokens[0] for one in tokens) else "other tokens"
            equal = sum(one == other for one, other in zip(base, tokens[0], strict=True))
            print(
                f"| {name} | {kind} | {_error_rate(clips, runs[0]):.2f} |"
                f" {100 * _equal_tokens(base, tokens[0]):.2f} | {equal} of {len(base)} | {same} |",
                flush=True,
            )


def _bundled() -> Iterator[Clip]:
    for name in BUNDLED_SAMPLES:
        yield Clip(*bundled_sample(name), bundled_reference(name))


def _digits(folder: Path, rate: int, count: int) -> Iterator[Clip]:
    """Join test recordings: 1 to 12 digits by one voice."""
    builder = RecordingBuilder(read_fsdd(folder, "test"), rate, SEED)
    for index in range(count):
        spoken = builder.short(1 + index % 12)
        yield Clip(spoken.samples, rate, digit_tasks.digit_words(spoken.digits, "English"))


def _transcribe(backend: TorchBackend, clips: Sequence[Clip], batch: int) -> list[Generation]:
    """Return the answers about all chunks, in the order of the audio."""
    backend.batch_size = batch
    return sorted(answer_all(backend, _requests(clips)), key=_audio_order)


def _requests(clips: Sequence[Clip]) -> Iterator[Request]:
    task = Transcribe("English", align="none")
    for index, clip in enumerate(clips):
        for chunk in chunk_at_silence([clip.samples], clip.rate, task.max_chunk_seconds):
            yield from task.requests(index, chunk)


def _audio_order(answer: Generation) -> tuple[int, int]:
    chunk: Chunk | None = answer.request.chunk
    return answer.request.job, chunk.start if chunk else 0


def _error_rate(clips: Sequence[Clip], answers: Sequence[Generation]) -> float:
    """Word error rate in percent."""
    texts = ["" for _ in clips]
    for answer in answers:
        texts[answer.request.job] += f" {answer.text}"
    rate: float = jiwer.wer([clip.reference for clip in clips], texts)
    return 100 * rate


def _equal_tokens(base: Sequence[tuple[int, ...]], other: Sequence[tuple[int, ...]]) -> float:
    """Return the share of the base's tokens in the other, aligned like words for an error rate."""
    base_texts, other_texts = (
        [" ".join(map(str, tokens)) for tokens in each] for each in (base, other)
    )
    kept = [(one, two) for one, two in zip(base_texts, other_texts, strict=True) if one]
    rate: float = jiwer.wer([one for one, _ in kept], [two for _, two in kept])
    return 1 - rate
