"""Kinds of breaks in a text, and balanced subtitle lines. Pure."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

from phi4audio_cli.text.break_opportunities import (
    normalize_spaces,
    split_at_breaks,
    split_wide_part,
)
from phi4audio_cli.text.character_classes import is_closing, is_opening, is_thai
from phi4audio_cli.text.graphemes import LETTER_WIDTH, display_width

SENTENCE_ENDS = frozenset(".!?…。！？｡．؟।۔‼⁇⁈⁉")
CLAUSE_ENDS = frozenset(",;:、，；：､،؛")
DASHES = frozenset("—–")

ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st sr sra jr vs nr bzw z.b e.g i.e mme mlle
    """.split()  # noqa: SIM905
)
"""Words whose full stop does not end a sentence, in lower case."""

# Articles, prepositions and conjunctions of the spoken languages, one line a language.
FUNCTION_WORDS = frozenset(
    """
    a an the of to in on at by for from with into onto than as and or but nor if that
    der die das den dem des ein eine einen einem einer eines und oder aber von zu zum zur mit im in
    am an auf für aus bei nach vor über unter dass wenn als
    le la les un une des du de d' l' et ou mais à au aux en dans sur sous par pour avec chez que qui
    el la los las un una unos unas y o pero de del a al en con por para sin sobre que
    il lo la i gli le un uno una e o ma di del della dei degli delle a al alla da dal in nel con su
    per tra fra che
    o a os as um uma e ou mas de do da dos das em no na nos nas com por para sem sobre que
    """.split()  # noqa: SIM905
)
"""Words bound to the next word: a line or a cue should not end in one."""


class Break(enum.IntEnum):
    """Kind of a break between two words by their text; smaller is better."""

    SENTENCE = 0
    CLAUSE = 1
    PHRASE = 2
    """Before an article, a preposition or a conjunction, which begin a phrase."""
    WORD = 3
    FUNCTION_WORD = 4
    """After an article, a preposition or a conjunction."""


def break_after(word: str, following: str) -> Break:
    """Classify the break between two words.

    Args:
        word: Word before the break, with its punctuation.
        following: Word after it; empty at the end of a text.
    """
    text = word.strip()
    bare = _without_closing_quotes(text)
    last = bare[-1:]
    if last in SENTENCE_ENDS and not _is_abbreviation(bare, following.strip()):
        return Break.SENTENCE
    if last in CLAUSE_ENDS or text[-1:] in DASHES or following.strip()[:1] in DASHES:
        return Break.CLAUSE
    if following[:1].isspace() and is_thai(text[-1:]) and is_thai(following.strip()[:1]):
        return Break.CLAUSE  # Thai separates clauses, not words, by spaces
    if _is_function_word(text):
        return Break.FUNCTION_WORD
    return Break.PHRASE if _is_function_word(following) else Break.WORD


def _without_closing_quotes(text: str) -> str:
    """Return a text without the quotation marks at its end; in some languages “ and » close."""
    end = len(text)
    while end and _is_bracket_or_quote(text[end - 1]):
        end -= 1
    return text[:end]


def _is_bracket_or_quote(char: str) -> bool:
    return char in "\"'" or is_closing(char) or is_opening(char)


def _is_abbreviation(word: str, following: str) -> bool:
    if not word.endswith("."):
        return False
    stem = word[:-1].lower().lstrip("(\"'“‘«")
    return stem in ABBREVIATIONS or (len(stem) == 1 and stem.isalpha()) or following[:1].islower()


def _is_function_word(word: str) -> bool:
    return word.strip().lower().replace("’", "'") in FUNCTION_WORDS


LINE_BREAK_COST = {
    Break.SENTENCE: 0.0,
    Break.CLAUSE: 2.0,
    Break.PHRASE: 4.0,
    Break.WORD: 6.0,
    Break.FUNCTION_WORD: 14.0,
}
"""Cost of a line by the break at its end, in letters of imbalance."""


def break_lines(words: Sequence[str], limit: int) -> list[int]:
    """Distribute words over the fewest lines, balanced in length and broken well.

    Args:
        words: Words with their leading spaces; none wider than a line.
        limit: Width of a line in the unit of `display_width`.

    Returns:
        The number of words on each line.
    """
    widths = [display_width(word) for word in words]
    bare = [display_width(word.strip()) for word in words]
    total = bare[0] + sum(widths[1:])
    if total <= limit:
        return [len(words)]
    for count in range(2, len(words) + 1):
        if counts := _balance_lines(words, widths, bare, limit, count):
            return counts
    return [1] * len(words)


def _balance_lines(
    words: Sequence[str],
    widths: Sequence[int],
    trimmed_widths: Sequence[int],
    limit: int,
    count: int,
) -> list[int]:
    """Return the word counts of the best `count` lines; empty when the words do not fit."""
    ideal = (trimmed_widths[0] + sum(widths[1:])) / count
    # best[stop]: lowest cost of the lines so far with `stop` words, and their word counts.
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for _ in range(count):
        longer: dict[int, tuple[float, list[int]]] = {}
        for first, (cost, counts) in best.items():
            filled = 0
            for stop in range(first + 1, len(words) + 1):
                filled += widths[stop - 1] if filled else trimmed_widths[stop - 1]
                if filled > limit:
                    break
                new = cost + _line_cost(words, stop, (filled - ideal) / LETTER_WIDTH)
                if new < longer.get(stop, (math.inf, []))[0]:
                    longer[stop] = new, [*counts, stop - first]
        best = longer
    return best.get(len(words), (0.0, []))[1]


def _line_cost(words: Sequence[str], stop: int, imbalance: float) -> float:
    if stop == len(words):
        return imbalance**2 / 8
    return imbalance**2 / 8 + LINE_BREAK_COST[break_after(words[stop - 1], words[stop])]


def wrap_text(text: str, limit: int) -> list[str]:
    """Wrap a text greedily; parts wider than a line are broken between characters.

    Args:
        text: Runs of white space count as one space.
        limit: Width of a line in the unit of `display_width`.
    """
    lines: list[str] = []
    line = ""
    for part in split_at_breaks(normalize_spaces(text)):
        if line and display_width(line + part) <= limit:
            line += part
            continue
        pieces = split_wide_part(part.lstrip(), limit)
        lines += [line.rstrip(), *pieces[:-1]] if line else pieces[:-1]
        line = pieces[-1]
    return [*lines, line] if line else lines
