"""Synthetic answers, good and defective, with known truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.retry_quality.retry_loop import answer_with_retries
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.text.words import count_words
from phi4audio_cli.types import Chunk, FinishReason, Generation, Request, Span

RATE = 8_000
MAX_WORDS_PER_SECOND = 3.5
"""Fastest speech, in words per second."""

SENTENCES = (
    "we went to the market in the morning and bought bread and cheese and some apples",
    "then it began to rain and everybody ran home as fast as they could",
    "the meeting is moved to next thursday because half of the team is away",
    "please call me back before six if you want to change anything in the contract",
)
PHRASES = (
    "seven", "no", "yes", "thank you", "bravo", "row your boat", "one two three four",
    "la la la", "happy birthday to you", "and we all fall down", "go go go", "谢谢", "ありがとう",
)  # fmt: skip
CHORUS = "oh when the saints go marching in oh lord i want to be in that number"
REFUSAL = "I'm sorry, but I can't listen to audio."


@dataclass(frozen=True)
class Case:
    """The answers about a chunk, and whether the first one is true."""

    kind: str
    real: bool
    seconds: float
    whole: str
    halves: tuple[str, str]
    finish: FinishReason = "stop"
    half_finish: FinishReason = "stop"
    bad: frozenset[str] = frozenset()
    """Texts that are not in the audio."""


@dataclass
class Counts:
    """Results for the cases of one kind."""

    cases: int = 0
    retried: int = 0
    replaced: int = 0
    flagged: int = 0
    wrong: int = 0


def spoken_repetitions(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Yield real repetitions; the model drops or adds a word here and there."""
    for _ in range(count):
        phrase = str(rng.choice(PHRASES))
        length = max(1, len(phrase.split()))
        times = int(rng.integers(12, 61)) // length + 3
        seconds = max(
            2.0, times * max(1.0, count_words(phrase)) / rng.uniform(1, MAX_WORDS_PER_SECOND)
        )
        left = times // 2
        whole, first, second = (_inexact_count(rng, n) for n in (times, left, times - left))
        yield Case(
            "said again and again", True, seconds,
            _repeat(phrase, whole), (_repeat(phrase, first), _repeat(phrase, second)),
        )  # fmt: skip
        talk = str(rng.choice(SENTENCES))
        words = f"{talk} {_repeat(CHORUS, 3)}".split()
        cut = len(words) // 2 + int(rng.integers(-3, 4))
        yield Case(
            "talk and a chorus", True, len(words) / rng.uniform(1, MAX_WORDS_PER_SECOND),
            " ".join(words), (" ".join(words[:cut]), " ".join(words[cut:])),
        )  # fmt: skip
        yield Case("talk", True, 12, talk, ("", ""))
    words = REFUSAL.split()
    yield Case("a refusal, said", True, 4, REFUSAL, (" ".join(words[:4]), " ".join(words[4:])))


def model_failures(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Yield loops and refusals; the answers about the halves are good or not."""
    for _ in range(count):
        phrase, talk, more = (str(rng.choice(each)) for each in (PHRASES, SENTENCES, SENTENCES))
        seconds = float(rng.uniform(10, 40))
        full = _repeat(phrase, int((15 * seconds + 64) / max(1, len(phrase.split()))))
        some = _repeat(phrase, int(2 * seconds / max(1, len(phrase.split()))) + 6)
        half = _repeat(phrase, int(7 * seconds))
        twice = _repeat(phrase, len(some.split()) // max(1, len(phrase.split())) // 2)
        bad = frozenset({full, f"{talk} {full}", some, half, twice, REFUSAL})
        rows: tuple[tuple[str, str, tuple[str, str], FinishReason, FinishReason], ...] = (
            ("loop to the budget", full, (talk, more), "length", "stop"),
            ("talk, then a loop", f"{talk} {full}", (talk, more), "length", "stop"),
            ("loop that stops, too fast", full, (talk, more), "stop", "stop"),
            ("loop that stops, in time", some, (talk, more), "stop", "stop"),
            ("a half loops, too", full, (talk, half), "length", "length"),
            ("all loop, in time", some, (some, some), "stop", "stop"),
            ("all loop, as if said", some, (twice, twice), "stop", "stop"),
            ("refusal", REFUSAL, (talk, more), "stop", "stop"),
            ("refusal of all", REFUSAL, (REFUSAL, REFUSAL), "stop", "stop"),
        )
        for kind, whole, halves, end, half_end in rows:
            yield Case(kind, False, seconds, whole, halves, end, half_end, bad)


def measure(cases: Sequence[Case]) -> dict[str, Counts]:
    """Run cases through the transcribe task.

    Returns:
        Counts by kind. Wrong are true texts that are replaced or flagged, and other texts that are
        kept without a flag.
    """
    found: dict[str, Counts] = {}
    for case in cases:
        _count(found.setdefault(case.kind, Counts()), case)
    return found


def _count(counts: Counts, case: Case) -> None:
    task = Transcribe(align="none")
    samples = np.full(int(case.seconds * RATE), 0.1, np.float32)
    chunk = Chunk(0, samples, RATE, 0, (Span(0, len(samples)),))
    [answers] = answer_with_retries(
        task, [chunk], lambda waiting: [_answer(case, each) for each in waiting]
    )
    segments = task.assemble(answers, case.seconds).segments
    replaced = any(segment.tried and segment.tried[-1] != "first" for segment in segments)
    flagged = any(set(segment.flags) - {"empty"} for segment in segments)
    counts.cases += 1
    counts.retried += len(answers) > 1
    counts.replaced += replaced
    counts.flagged += flagged
    if case.real:
        counts.wrong += replaced or flagged
    else:
        counts.wrong += any(each.text in case.bad and not each.flags for each in segments)


def _answer(case: Case, request: Request) -> Generation:
    if request.attempt == "first":
        return Generation(request, case.whole, (1,), (-0.1,), case.finish)
    assert request.chunk is not None
    second = request.chunk.start > 0
    finish = case.half_finish if second else "stop"
    return Generation(request, case.halves[second], (1,), (-0.2,), finish)


def _inexact_count(rng: np.random.Generator, times: int) -> int:
    return max(1, round(times * rng.uniform(0.88, 1.05)))


def _repeat(phrase: str, times: int) -> str:
    return " ".join([phrase] * times)
