"""Positions where a text may be broken into lines, in scripts with and without spaces. Pure.

Thai has no spaces between words; BudouX finds the words. It is maintained by Google, small, and
pure Python without dependencies; PyICU needs a compiler, and PyThaiNLP is a hundred times larger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from phi4audio_cli.text.character_classes import (
    NO_BREAK_SPACES,
    SPACED_PUNCTUATION,
    is_closing,
    is_opening,
    is_thai,
    is_unspaced,
    keeps_together,
)
from phi4audio_cli.text.graphemes import display_width, split_graphemes

if TYPE_CHECKING:
    from budoux import Parser

THAI_RUN = re.compile("[\u0e00-\u0e7f]+")
SINGLE_SPACES = NO_BREAK_SPACES | {"\u3000"}
"""White space that is kept as it is where it stands alone."""


def normalize_spaces(text: str) -> str:
    """Return a text with each run of white space as one space, and none at its ends."""
    return re.sub(r"\s+", lambda run: run[0] if run[0] in SINGLE_SPACES else " ", text.strip())


def split_at_breaks(text: str) -> list[str]:
    """Split a text at all positions where a line may end.

    Args:
        text: A text from `normalize_spaces`.

    Returns:
        Parts whose concatenation is the text; a part keeps the space before it.
    """
    thai_breaks = _thai_word_starts(text)
    parts: list[str] = []
    before, position = "", 0
    for grapheme in split_graphemes(text):
        if before and _may_break(text, position, before, grapheme, thai_breaks):
            parts.append(grapheme)
        elif parts:
            parts[-1] += grapheme
        else:
            parts = [grapheme]
        before = grapheme
        position += len(grapheme)
    return parts


def _may_break(
    text: str, position: int, before: str, grapheme: str, thai_breaks: frozenset[int]
) -> bool:
    left, right = before[0], grapheme[0]
    if left.isspace() or right in NO_BREAK_SPACES:
        return False
    if right.isspace():
        return _may_break_at_space(text, position)
    if keeps_together(left, right):
        return False
    if is_thai(left) and is_thai(right):
        return position in thai_breaks
    return is_unspaced(left) or is_unspaced(right)


def _may_break_at_space(text: str, position: int) -> bool:
    """Whether the words around a space may be separated; French sets off punctuation with it."""
    before = text[text.rfind(" ", 0, position) + 1 : position]
    end = text.find(" ", position + 1)
    after = text[position + 1 : end if end >= 0 else len(text)]
    if all(map(is_opening, before)):
        return False
    first = after[:1]
    closes = bool(first) and (first in SPACED_PUNCTUATION or is_closing(first))
    return not (closes and not any(map(str.isalnum, after)))


def _thai_word_starts(text: str) -> frozenset[int]:
    return frozenset(_iter_thai_word_starts(text))


def _iter_thai_word_starts(text: str) -> Iterator[int]:
    for run in THAI_RUN.finditer(text):
        position = run.start()
        for word in _thai_parser().parse(run[0]):
            yield position
            position += len(word)


@lru_cache(maxsize=1)
def _thai_parser() -> Parser:
    import budoux  # only Thai texts need its model

    return budoux.load_default_thai_parser()


def split_wide_part(part: str, limit: int) -> list[str]:
    """Split a part of a text that is wider than a line.

    Characters that keep together are separated only where they are wider than a line themselves,
    grapheme clusters never.

    Args:
        part: Part from `split_at_breaks`.
        limit: Width of a line in the unit of `display_width`.
    """
    pieces: list[str] = []
    for atom in _atoms(part, limit):
        if pieces and display_width((pieces[-1] + atom).strip()) <= limit:
            pieces[-1] += atom
        else:
            pieces.append(atom)
    return pieces


def _atoms(part: str, limit: int) -> Iterator[str]:
    """Yield the smallest pieces of a part, each with the space before it."""
    cluster: list[str] = []
    for grapheme in split_graphemes(part):
        if cluster and not _belongs_to(cluster[-1], grapheme):
            yield from _fitting_cluster(cluster, limit)
            cluster = []
        cluster.append(grapheme)
    yield from _fitting_cluster(cluster, limit)


def _belongs_to(before: str, grapheme: str) -> bool:
    left, right = before[0], grapheme[0]
    return left.isspace() or (not right.isspace() and keeps_together(left, right))


def _fitting_cluster(cluster: list[str], limit: int) -> Iterator[str]:
    whole = "".join(cluster)
    if display_width(whole.strip()) <= limit:
        yield whole
        return
    space = ""
    for grapheme in cluster:
        if grapheme.isspace():
            space = grapheme
            continue
        yield space + grapheme
        space = ""
    if space:
        yield space
