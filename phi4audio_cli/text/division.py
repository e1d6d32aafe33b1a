"""Which words share a cue. Pure.

Where the rules for subtitles disagree, the least bad division of all is found by dynamic
programming.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from phi4audio_cli.text.breaks import LETTER, Break, break_after, width
from phi4audio_cli.types import Word

if TYPE_CHECKING:
    from phi4audio_cli.text.cues import CueStyle

PAUSE_IN_CUE = 0.5
"""Seconds of pause inside a cue that cost nothing."""
LONGEST_PAUSE = 2.0
"""No cue stays through a longer pause, seconds."""

CUE_COST = 1.5
"""Of every cue: fewer are better."""
BREAK_COST = {
    Break.SENTENCE: 0.0,
    Break.CLAUSE: 3.0,
    Break.PHRASE: 7.0,
    Break.WORD: 8.0,
    Break.LEANING: 14.0,
}
"""Of a cue that ends so."""
PAUSE_BONUS = 6.0
"""A pause takes off up to this of the cost of ending in mid-clause."""
PAUSE_FULL = 0.5
"""Seconds of pause that take it all off."""
SENTENCE_INSIDE_COST = 3.0
"""Of every sentence end inside a cue."""
PAUSE_COST = 4.0
"""Of every second of pause inside a cue, beyond the free ones."""
FLASH_COST = 40.0
"""Of a cue that can't be shown for the shortest time, for each second that lacks."""
HASTE_COST = 10.0
"""Of every second that lacks for reading a cue."""


def divide(units: Sequence[Word], style: CueStyle) -> list[tuple[int, int]]:
    """Find the division of words into cues that costs least.

    Args:
        units: None wider than a line.
        style: How cues look.

    Returns:
        For each cue its first word and the one after its last.
    """
    breaks = _Breaks(units, style)
    best = [0.0] + [math.inf] * len(units)
    came_from = [0] * (len(units) + 1)
    for first in range(len(units)):
        for stop, cost in breaks.cues_from(first):
            if (total := best[first] + cost) < best[stop]:
                best[stop], came_from[stop] = total, first
    stop = len(units)
    found = []
    while stop:
        found.append((came_from[stop], stop))
        stop = came_from[stop]
    return found[::-1]


class _Breaks:
    """What each possible cue costs."""

    def __init__(self, units: Sequence[Word], style: CueStyle) -> None:
        self.units = units
        self.style = style
        self.widths = [width(unit.word) for unit in units]
        self.bare = [width(unit.word.strip()) for unit in units]
        following = [*(unit.word for unit in units[1:]), ""]
        self.kinds = [
            break_after(unit.word, after) for unit, after in zip(units, following, strict=True)
        ]
        self.pauses = [max(0.0, b.start - a.end) for a, b in pairwise(units)] + [math.inf]
        self.inside = [
            PAUSE_COST * max(0.0, pause - PAUSE_IN_CUE)
            + SENTENCE_INSIDE_COST * (kind is Break.SENTENCE)
            for pause, kind in zip(self.pauses, self.kinds, strict=True)
        ]
        self.at_end = list(map(self._end_cost, range(len(units))))

    def _end_cost(self, index: int) -> float:
        bonus = PAUSE_BONUS * min(1.0, self.pauses[index] / PAUSE_FULL)
        last = index + 1 == len(self.units)
        return CUE_COST + (0.0 if last else max(0.0, BREAK_COST[self.kinds[index]] - bonus))

    def cues_from(self, first: int) -> Iterator[tuple[int, float]]:
        """Yield (stop, cost) of all cues that begin with a unit and fit the screen."""
        style, units = self.style, self.units
        start = units[first].start
        limit = style.max_line_width * LETTER
        lines, filled, letters, inside = 1, 0, 0, 0.0
        for index in range(first, len(units)):
            # Filling each line as far as it goes needs the fewest lines.
            if filled and filled + self.widths[index] > limit:
                lines, filled = lines + 1, 0
            filled += self.widths[index] if filled else self.bare[index]
            too_long = units[index].end - start > style.max_cue_seconds
            if index > first and (lines > style.max_lines or too_long):
                return
            letters += len(units[index].word)
            yield index + 1, self.at_end[index] + inside + self._time_cost(start, index, letters)
            if self.pauses[index] > LONGEST_PAUSE:
                return
            inside += self.inside[index]

    def _time_cost(self, start: float, index: int, letters: int) -> float:
        """What it costs that the next cue leaves too little time to read this one."""
        if index + 1 == len(self.units):
            return 0.0
        slot = self.units[index + 1].start - start - self.style.gap_seconds
        flash = self.style.min_cue_seconds - slot
        haste = letters / self.style.max_letters_a_second - slot
        return FLASH_COST * max(0.0, flash) + HASTE_COST * max(0.0, haste)
