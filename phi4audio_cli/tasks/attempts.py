"""Several answers about one chunk: which to keep, and what is still wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from phi4audio_cli.tasks.doubts import is_proven_loop, problems, suspicions
from phi4audio_cli.tasks.pieces import LOGPROB_DIGITS, heard
from phi4audio_cli.text.stitch import join
from phi4audio_cli.text.units import agreement
from phi4audio_cli.types import Generation

SAYS_THE_SAME = 0.75
"""Share of words that the halves and the whole have in common where both heard the same."""

SPOKEN_FOR_ITSELF = frozenset({"refusal", "echo"})
"""What somebody may have said, or the model on its own account."""

ATTEMPTS = ("first", "halves", "penalty")
"""In the order in which they are made."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """An answer that goes into the result."""

    answer: Generation
    flags: tuple[str, ...] = ()
    """What is wrong with it."""
    tried: tuple[str, ...] = ()
    """Which attempts were made, the one that is kept last; empty where one was enough."""


def choose(answers: Sequence[Generation], language: str | None) -> list[Kept]:
    """Choose among the answers about one chunk: the whole, or its parts.

    That with the fewest problems is kept, each weighed by the audio it spoils; among equals,
    that which the model was more sure of. The order of the answers doesn't matter.

    Args:
        answers: All answers with one label; the first attempt is among them.
        language: English name of the language they must be in; None: any the model hears.

    Returns:
        One answer, or those about the halves in order.
    """
    first = _first(answers, language)
    others = [answer for answer in answers if answer.request.attempt != "first"]
    if not others:
        return [Kept(first, problems(first, language))]
    parts = _parts(others, language)
    names = tuple(dict.fromkeys(("first", *(name for part in parts for name in part.tried))))
    whole = Kept(first, _settled(first, parts, language), _last(names, "first"))
    parts = _with_loops(whole, parts)
    if not whole.flags or _cost([whole]) <= _cost(parts):
        return [whole]
    return [
        Kept(part.answer, part.flags, _last(("first", *part.tried), part.answer.request.attempt))
        for part in parts
    ]


def _first(answers: Iterable[Generation], language: str | None) -> Generation:
    """Return the best answer about the whole; there are two where one for both didn't serve."""
    firsts = [answer for answer in answers if answer.request.attempt == "first"]
    return min(
        firsts,
        key=lambda each: (_cost([Kept(each, suspicions(each, language))]), each.request.label),
    )


def _parts(answers: Iterable[Generation], language: str | None) -> list[Kept]:
    """Return the best answer about each part of a chunk, in order."""
    by_start: dict[int, list[Generation]] = {}
    for answer in answers:
        by_start.setdefault(heard(answer).start, []).append(answer)
    parts = []
    for _, attempts in sorted(by_start.items()):
        judged = (Kept(each, problems(each, language)) for each in attempts)
        best = min(judged, key=lambda one: _cost([one]))
        made = {each.request.attempt for each in attempts}
        parts.append(Kept(best.answer, best.flags, tuple(n for n in ATTEMPTS if n in made)))
    return parts


def _settled(whole: Generation, parts: Sequence[Kept], language: str | None) -> tuple[str, ...]:
    """Return what is wrong with a whole, now that its parts are known."""
    if len(parts) < 2:
        return problems(whole, language)
    refuted = _refuted(whole, parts)
    return tuple(name for name in suspicions(whole, language) if name not in refuted)


def _refuted(whole: Generation, parts: Sequence[Kept]) -> set[str]:
    """Return the doubts that fall because the parts say the same: it was really said."""
    if any(set(part.flags) - SPOKEN_FOR_ITSELF for part in parts):
        return set()
    texts = [part.answer.text for part in parts]
    if agreement(whole.text, join(texts)) < SAYS_THE_SAME:
        return set()
    refuted = set() if is_proven_loop(whole) else {"loop"}
    # A model that speaks for itself says all of it about every part.
    if all(agreement(whole.text, text) < SAYS_THE_SAME for text in texts):
        refuted |= SPOKEN_FOR_ITSELF
    return refuted


def _with_loops(whole: Kept, parts: Sequence[Kept]) -> list[Kept]:
    """Flag the parts of a loop that each say as much as the whole: no speaker would."""
    texts = [part.answer.text for part in parts]
    alike = all(agreement(whole.answer.text, text) >= SAYS_THE_SAME for text in texts)
    if "loop" not in whole.flags or len(parts) < 2 or not alike:
        return list(parts)
    return [
        part if "loop" in part.flags else replace(part, flags=(*part.flags, "loop"))
        for part in parts
    ]


def _cost(kept: Sequence[Kept]) -> tuple[int, float, int]:
    """Return what speaks against answers: spoiled samples, doubt of the model, later attempts."""
    spoiled = sum(len(one.flags) * len(heard(one.answer).samples) for one in kept)
    logprobs = [value for one in kept for value in one.answer.logprobs]
    doubt = -sum(logprobs) / len(logprobs) if logprobs else float("inf")
    latest = max(ATTEMPTS.index(one.answer.request.attempt) for one in kept)
    # Further digits depend on how requests were batched.
    return spoiled, round(doubt, LOGPROB_DIGITS), latest


def _last(names: Sequence[str], kept: str) -> tuple[str, ...]:
    return (*(name for name in names if name != kept), kept)
