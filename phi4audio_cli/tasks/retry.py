"""Retry a chunk with a defective answer, in halves and then with a penalty, and select the best attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from phi4audio_cli.audio.energy_chunking import quietest_point
from phi4audio_cli.tasks.chunk_answers import LOGPROB_DIGITS, chunk_of, token_budget
from phi4audio_cli.tasks.quality import confirmed_defects, is_confirmed_loop, suspected_defects
from phi4audio_cli.text.words import dice_similarity, join_texts
from phi4audio_cli.types import Chunk, Generation, Request, Span

REPETITION_PENALTY = 1.1
"""Enough to leave a loop; with more, words that are really said twice get lost."""

MIN_SPLIT_SECONDS = 2.0
"""A shorter chunk isn't cut."""


def retry_requests(answer: Generation, language: str | None) -> Sequence[Request]:
    """Return what to ask about a doubtful answer's chunk; nothing where all was tried.

    Args:
        answer: With the samples of its chunk.
        language: English name of the language it must be in; None: any the model hears.
    """
    request, chunk = answer.request, chunk_of(answer)
    if request.attempt == "first" and suspected_defects(answer, language):
        return _half_requests(request, chunk) or _penalty_requests(answer, language)
    if request.attempt == "halves":
        return _penalty_requests(answer, language)
    return ()


def split_chunk(chunk: Chunk) -> tuple[Chunk, Chunk] | None:
    """Cut a chunk in two, in the longest pause of its middle third, or where that is quietest.

    Returns:
        Two chunks with the index, the speaker and together the samples of the one; None where it
        is too short.
    """
    if chunk.seconds < MIN_SPLIT_SECONDS:
        return None
    cut = _split_point(chunk)
    left = replace(
        chunk,
        samples=chunk.samples[:cut],
        speech=_speech_between(chunk, chunk.start, chunk.start + cut),
    )
    right = replace(
        chunk,
        samples=chunk.samples[cut:],
        start=chunk.start + cut,
        speech=_speech_between(chunk, chunk.start + cut, chunk.stop),
    )
    return left, right


def _half_requests(request: Request, chunk: Chunk) -> Sequence[Request]:
    return [
        replace(request, chunk=half, max_new_tokens=token_budget(half), attempt="halves")
        for half in split_chunk(chunk) or ()
    ]


def _penalty_requests(answer: Generation, language: str | None) -> Sequence[Request]:
    # Without words there is nothing to penalise: the answer would be the same.
    if not answer.text or not confirmed_defects(answer, language):
        return ()
    return [replace(answer.request, repetition_penalty=REPETITION_PENALTY, attempt="penalty")]


def _split_point(chunk: Chunk) -> int:
    """Return the best place for a cut, in samples from the chunk's start."""
    count = len(chunk.samples)
    low, high = count // 3, 2 * count // 3
    pauses = (
        Span(max(left.stop - chunk.start, low), min(right.start - chunk.start, high))
        for left, right in pairwise(chunk.speech)
    )
    longest = max(pauses, key=lambda pause: pause.stop - pause.start, default=None)
    if longest is not None and longest.start < longest.stop:
        return (longest.start + longest.stop) // 2
    return quietest_point(chunk.samples, chunk.sample_rate, low, high)


def _speech_between(chunk: Chunk, start: int, stop: int) -> tuple[Span, ...]:
    """Return the chunk's speech between two places of the recording."""
    parts = (Span(max(span.start, start), min(span.stop, stop)) for span in chunk.speech)
    return tuple(part for part in parts if part.start < part.stop)


MIN_AGREEMENT = 0.75
"""Share of words that the halves and the whole have in common where both heard the same."""

AMBIGUOUS_DEFECTS = frozenset({"refusal", "echo"})
"""What somebody may have said, or the model on its own account."""

ATTEMPT_ORDER = ("first", "halves", "penalty")
"""In the order in which they are made."""


@dataclass(frozen=True, slots=True, eq=False)
class SelectedAnswer:
    """An answer that goes into the result."""

    answer: Generation
    flags: tuple[str, ...] = ()
    """What is wrong with it."""
    tried: tuple[str, ...] = ()
    """Which attempts were made, the one that is kept last; empty where one was enough."""


def select_best(answers: Sequence[Generation], language: str | None) -> list[SelectedAnswer]:
    """Choose among the answers about one chunk: the whole, or its parts.

    That with the fewest problems is kept, each weighed by the audio it spoils; among equals,
    that which the model was more sure of. The order of the answers doesn't matter.

    Args:
        answers: All answers with one label; the first attempt is among them.
        language: English name of the language they must be in; None: any the model hears.

    Returns:
        One answer, or those about the halves in order.
    """
    first = _best_first_attempt(answers, language)
    others = [answer for answer in answers if answer.request.attempt != "first"]
    if not others:
        return [SelectedAnswer(first, confirmed_defects(first, language))]
    parts = _best_parts(others, language)
    names = tuple(dict.fromkeys(("first", *(name for part in parts for name in part.tried))))
    whole = SelectedAnswer(
        first, _remaining_defects(first, parts, language), _with_selected_last(names, "first")
    )
    parts = _flag_repeated_loops(whole, parts)
    if not whole.flags or _cost([whole]) <= _cost(parts):
        return [whole]
    return [
        SelectedAnswer(
            part.answer,
            part.flags,
            _with_selected_last(("first", *part.tried), part.answer.request.attempt),
        )
        for part in parts
    ]


def _best_first_attempt(answers: Iterable[Generation], language: str | None) -> Generation:
    """Return the best answer about the whole; there are two where one for both didn't serve."""
    firsts = [answer for answer in answers if answer.request.attempt == "first"]
    return min(
        firsts,
        key=lambda each: (
            _cost([SelectedAnswer(each, suspected_defects(each, language))]),
            each.request.label,
        ),
    )


def _best_parts(answers: Iterable[Generation], language: str | None) -> list[SelectedAnswer]:
    """Return the best answer about each part of a chunk, in order."""
    by_start: dict[int, list[Generation]] = {}
    for answer in answers:
        by_start.setdefault(chunk_of(answer).start, []).append(answer)
    parts = []
    for _, attempts in sorted(by_start.items()):
        judged = (SelectedAnswer(each, confirmed_defects(each, language)) for each in attempts)
        best = min(judged, key=lambda one: _cost([one]))
        made = {each.request.attempt for each in attempts}
        parts.append(
            SelectedAnswer(best.answer, best.flags, tuple(n for n in ATTEMPT_ORDER if n in made))
        )
    return parts


def _remaining_defects(
    whole: Generation, parts: Sequence[SelectedAnswer], language: str | None
) -> tuple[str, ...]:
    """Return what is wrong with a whole, now that its parts are known."""
    if len(parts) < 2:
        return confirmed_defects(whole, language)
    refuted = _refuted_defects(whole, parts)
    return tuple(name for name in suspected_defects(whole, language) if name not in refuted)


def _refuted_defects(whole: Generation, parts: Sequence[SelectedAnswer]) -> set[str]:
    """Return the doubts that fall because the parts say the same: it was really said."""
    if any(set(part.flags) - AMBIGUOUS_DEFECTS for part in parts):
        return set()
    texts = [part.answer.text for part in parts]
    if dice_similarity(whole.text, join_texts(texts)) < MIN_AGREEMENT:
        return set()
    refuted = set() if is_confirmed_loop(whole) else {"loop"}
    # A model that speaks for itself says all of it about every part.
    if all(dice_similarity(whole.text, text) < MIN_AGREEMENT for text in texts):
        refuted |= AMBIGUOUS_DEFECTS
    return refuted


def _flag_repeated_loops(
    whole: SelectedAnswer, parts: Sequence[SelectedAnswer]
) -> list[SelectedAnswer]:
    """Flag the parts of a loop that each say as much as the whole: no speaker would."""
    texts = [part.answer.text for part in parts]
    alike = all(dice_similarity(whole.answer.text, text) >= MIN_AGREEMENT for text in texts)
    if "loop" not in whole.flags or len(parts) < 2 or not alike:
        return list(parts)
    return [
        part if "loop" in part.flags else replace(part, flags=(*part.flags, "loop"))
        for part in parts
    ]


def _cost(kept: Sequence[SelectedAnswer]) -> tuple[int, float, int]:
    """Return what speaks against answers: spoiled samples, doubt of the model, later attempts."""
    spoiled = sum(len(one.flags) * len(chunk_of(one.answer).samples) for one in kept)
    logprobs = [value for one in kept for value in one.answer.logprobs]
    doubt = -sum(logprobs) / len(logprobs) if logprobs else float("inf")
    latest = max(ATTEMPT_ORDER.index(one.answer.request.attempt) for one in kept)
    # Further digits depend on how requests were batched.
    return spoiled, round(doubt, LOGPROB_DIGITS), latest


def _with_selected_last(names: Sequence[str], kept: str) -> tuple[str, ...]:
    return (*(name for name in names if name != kept), kept)
