"""Transcribe spoken digits with the model, with and without retries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np

from benchmarks.backend_answers import answer_all
from benchmarks.retry_quality.retry_loop import answer_with_retries
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.tasks.quality import assess
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk, Span, Transcript
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_corpus import read_fsdd, resample
from training.spoken_digits.digit_recordings import PHONE_RATE, DigitRecording, RecordingBuilder

LOW_WER = 0.1
"""An answer with a WER up to this needs no retry."""

HIGH_WER = 0.5
"""An answer with a higher WER should have a flag."""


@dataclass(frozen=True)
class RetryFigures:
    """The effect of retries on a set of recordings."""

    clips: int
    before: float
    """WER of the first answers."""
    after: float
    suspected: int
    false_alarms: int
    """Suspected, with a WER of at most `LOW_WER`."""
    replaced: int
    worse: int
    """Replaced by a retry with more errors."""
    flagged: int
    missed: int
    """A final WER above `HIGH_WER`, without a flag."""


def make_full_chunks(fsdd: Path, split: str, count: int) -> list[DigitRecording]:
    """Make telephone recordings of 40 s full of digits."""
    builder = RecordingBuilder(read_fsdd(fsdd, split), PHONE_RATE, seed=300)
    return [builder.full() for _ in range(count)]


def make_repeated_digit(fsdd: Path, split: str, count: int) -> list[DigitRecording]:
    """Make telephone recordings in which one digit is repeated 20 to 40 times."""
    rng = np.random.default_rng(400)
    recordings = read_fsdd(fsdd, split)
    voices = sorted({one.voice for one in recordings})
    clips = []
    for number in range(count):
        voice, digit = str(rng.choice(voices)), number % 10
        takes = [
            resample(one.samples, one.rate, PHONE_RATE)
            for one in recordings
            if (one.voice, one.digit) == (voice, digit)
        ]
        clips.append(_repeated(takes, digit, int(rng.integers(20, 41)), rng))
    return clips


def _repeated(
    takes: Sequence[np.ndarray], digit: int, times: int, rng: np.random.Generator
) -> DigitRecording:
    parts, spans, used = [np.zeros(2000, np.float32)], [], 2000
    for _ in range(times):
        word = takes[int(rng.integers(len(takes)))]
        gap = np.zeros(int(rng.uniform(0.1, 0.5) * PHONE_RATE), np.float32)
        parts += [word, gap]
        spans.append((used / PHONE_RATE, (used + len(word)) / PHONE_RATE))
        used += len(word) + len(gap)
    samples = np.concatenate(parts)
    noise = rng.standard_normal(len(samples)).astype(np.float32)
    return DigitRecording(samples + 0.003 * noise, PHONE_RATE, [digit] * times, spans)


def measure(backend: TorchBackend, clips: Sequence[DigitRecording]) -> RetryFigures:
    """Transcribe each clip as one chunk, with retries."""
    task = Transcribe("English", align="none")
    answers = answer_with_retries(
        task, [_chunk(clip) for clip in clips], lambda waiting: answer_all(backend, waiting)
    )
    references = [digit_tasks.digit_words(clip.digits, "English") for clip in clips]
    before = [task.assemble(each[:1], 40).text for each in answers]
    results = [task.assemble(each, 40) for each in answers]
    after = [result.text for result in results]
    errors = [jiwer.wer(*pair) for pair in zip(references, before, strict=True)]
    errors_after = [jiwer.wer(*pair) for pair in zip(references, after, strict=True)]
    suspected = [bool(assess(each[0], "English").suspected) for each in answers]
    replaced = [_is_replaced(result) for result in results]
    flagged = [any(segment.flags for segment in result.segments) for result in results]
    rows = list(zip(errors, errors_after, suspected, replaced, flagged, strict=True))
    return RetryFigures(
        clips=len(clips),
        before=jiwer.wer(references, before),
        after=jiwer.wer(references, after),
        suspected=sum(suspected),
        false_alarms=sum(alarm and error <= LOW_WER for error, _, alarm, _, _ in rows),
        replaced=sum(replaced),
        worse=sum(changed and new > old for old, new, _, changed, _ in rows),
        flagged=sum(flagged),
        missed=sum(new > HIGH_WER and not has_flag for _, new, _, _, has_flag in rows),
    )


def _is_replaced(result: Transcript) -> bool:
    return any(segment.tried and segment.tried[-1] != "first" for segment in result.segments)


def _chunk(clip: DigitRecording) -> Chunk:
    speech = tuple(Span(int(a * clip.rate), int(b * clip.rate)) for a, b in clip.spans)
    return Chunk(0, clip.samples.astype(np.float32), clip.rate, 0, speech)
