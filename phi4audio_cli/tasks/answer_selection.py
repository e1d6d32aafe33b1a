"""Select the best attempt among the answers about one chunk: the whole, or its halves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from phi4audio_cli.tasks.chunk_answers import LOGPROB_DIGITS, chunk_of
from phi4audio_cli.tasks.quality import Assessment
from phi4audio_cli.text.words import dice_similarity, join_texts
from phi4audio_cli.types import Generation

MIN_AGREEMENT = 0.75
"""Share of common words from which two answers count as the same."""

AMBIGUOUS_DEFECTS = frozenset({"refusal", "echo"})
"""Defects whose text may be real speech."""

ATTEMPT_ORDER = ("first", "halves", "penalty")
"""Order in which the attempts are made."""


@dataclass(frozen=True, slots=True, eq=False)
class SelectedAnswer:
    """An answer that goes into the result."""

    answer: Generation
    flags: tuple[str, ...] = ()
    """Its defects."""
    tried: tuple[str, ...] = ()
    """The attempts at its chunk, the selected one last; empty: there was only one."""


def select_best(assessments: Sequence[Assessment]) -> list[SelectedAnswer]:
    """Select among the answers about one chunk.

    The answer with the fewest defects wins, each weighed by the length of its audio; among equals,
    the answer with the highest log-probability. The order of the answers does not matter.

    Args:
        assessments: Of all answers with one label, the first attempt among them.

    Returns:
        One answer about the whole chunk, or the answers about its halves in order.
    """
    first = _best_first_attempt(assessments)
    retries = [each for each in assessments if each.answer.request.attempt != "first"]
    if not retries:
        return [SelectedAnswer(first.answer, first.confirmed)]
    parts = _best_parts(retries)
    attempts = tuple(dict.fromkeys(("first", *(name for part in parts for name in part.tried))))
    whole = SelectedAnswer(
        first.answer, _remaining_defects(first, parts), _with_selected_last(attempts, "first")
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


def _best_first_attempt(assessments: Iterable[Assessment]) -> Assessment:
    """Return the best answer about the whole chunk.

    There are two where a combined answer was replaced by separate ones.
    """
    firsts = (each for each in assessments if each.answer.request.attempt == "first")
    return min(
        firsts,
        key=lambda each: (
            _cost([SelectedAnswer(each.answer, each.suspected)]),
            each.answer.request.label,
        ),
    )


def _best_parts(assessments: Iterable[Assessment]) -> list[SelectedAnswer]:
    """Return the best answer about each part of a chunk, in order."""
    by_start: dict[int, list[SelectedAnswer]] = {}
    for each in assessments:
        candidate = SelectedAnswer(each.answer, each.confirmed)
        by_start.setdefault(chunk_of(each.answer).start, []).append(candidate)
    return [_best_attempt(candidates) for _, candidates in sorted(by_start.items())]


def _best_attempt(candidates: Sequence[SelectedAnswer]) -> SelectedAnswer:
    best = min(candidates, key=lambda candidate: _cost([candidate]))
    made = {candidate.answer.request.attempt for candidate in candidates}
    return replace(best, tried=tuple(name for name in ATTEMPT_ORDER if name in made))


def _remaining_defects(whole: Assessment, parts: Sequence[SelectedAnswer]) -> tuple[str, ...]:
    """Return the defects of the whole that the answers about its parts do not refute."""
    if len(parts) < 2:
        return whole.confirmed
    refuted = _refuted_defects(whole, parts)
    return tuple(name for name in whole.suspected if name not in refuted)


def _refuted_defects(whole: Assessment, parts: Sequence[SelectedAnswer]) -> set[str]:
    """Return the defects that are refuted because the parts have the same words."""
    if any(set(part.flags) - AMBIGUOUS_DEFECTS for part in parts):
        return set()
    text = whole.answer.text
    texts = [part.answer.text for part in parts]
    if dice_similarity(text, join_texts(texts)) < MIN_AGREEMENT:
        return set()
    refuted = set() if "loop" in whole.confirmed else {"loop"}
    # A refusal or an echo is repeated in full for every part; speech is divided among them.
    if all(dice_similarity(text, part) < MIN_AGREEMENT for part in texts):
        refuted |= AMBIGUOUS_DEFECTS
    return refuted


def _flag_repeated_loops(
    whole: SelectedAnswer, parts: Sequence[SelectedAnswer]
) -> list[SelectedAnswer]:
    """Flag the parts of a loop if each of them has all the words of the whole."""
    texts = [part.answer.text for part in parts]
    alike = all(dice_similarity(whole.answer.text, text) >= MIN_AGREEMENT for text in texts)
    if "loop" not in whole.flags or len(parts) < 2 or not alike:
        return list(parts)
    return [
        part if "loop" in part.flags else replace(part, flags=(*part.flags, "loop"))
        for part in parts
    ]


def _cost(selected: Sequence[SelectedAnswer]) -> tuple[int, float, int]:
    """Return the samples under defects, the negative mean log-probability, the latest attempt."""
    defective = sum(len(one.flags) * len(chunk_of(one.answer).samples) for one in selected)
    logprobs = [value for one in selected for value in one.answer.logprobs]
    uncertainty = -sum(logprobs) / len(logprobs) if logprobs else float("inf")
    latest = max(ATTEMPT_ORDER.index(one.answer.request.attempt) for one in selected)
    return defective, round(uncertainty, LOGPROB_DIGITS), latest


def _with_selected_last(names: Sequence[str], selected: str) -> tuple[str, ...]:
    return (*(name for name in names if name != selected), selected)
