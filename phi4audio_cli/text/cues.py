"""Subtitle cues from words: their segmentation, lines and display times. Pure.

The rules are those of the large subtitling guides (Netflix, BBC, EBU): whole sentences or clauses
where they fit, few characters per line and second, no flicker, a short gap between cues. Where the
rules disagree, dynamic programming finds the segmentation of the lowest cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from phi4audio_cli.text.cue_units import add_word_spaces, split_to_units
from phi4audio_cli.text.graphemes import LETTER_WIDTH, display_width
from phi4audio_cli.text.line_breaks import Break, break_after, break_lines, wrap_text
from phi4audio_cli.types import Segment, Word

MILLISECONDS = 1000

FRAME_MILLISECONDS = 42
"""Shortest display time of a cue: one video frame, milliseconds."""


@dataclass(frozen=True, slots=True)
class CueStyle:
    """Layout and reading speed of subtitles."""

    max_line_width: int = 42
    """Latin letters on a line; a full-width character counts as 2.6."""
    max_lines: int = 2
    max_cue_seconds: float = 7.0
    min_cue_seconds: float = 5 / 6
    """Shorter cues flash; kept wherever the next cue leaves enough time."""
    max_letters_per_second: float = 20.0
    """Highest reading speed; kept where the speech allows it."""
    gap_seconds: float = 2 / 24
    """Blank time between cues, two frames, so that a change is visible."""
    highlight_words: bool = False
    """Highlight each word while it is spoken."""


DEFAULT_STYLE = CueStyle()


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Times in whole milliseconds."""

    start: int
    end: int
    lines: tuple[tuple[Word, ...], ...]
    """The words of each line; joined, they are its text."""
    timed: bool = True
    """Whether the words have times of their own."""
    speaker: str | None = None
    """Speaker label; None without speaker labels."""

    @property
    def text_lines(self) -> tuple[str, ...]:
        """The lines as text."""
        return tuple("".join(word.word for word in line).strip() for line in self.lines)

    @property
    def text(self) -> str:
        """The lines, separated by line feeds."""
        return "\n".join(self.text_lines)


def make_cues(segments: Sequence[Segment], style: CueStyle = DEFAULT_STYLE) -> list[Cue]:
    """Make the subtitle cues of a transcript's segments.

    Words of neighbouring segments share a cue where that reads better. A segment without words
    becomes one cue, wrapped to the line width, because the times of its parts are unknown.

    Args:
        segments: In order; segments of one speaker do not overlap.
        style: Layout and reading speed.

    Returns:
        Cues in order, with start < end and lines within the width; cues of one speaker are at
        least the gap apart, cues of two speakers may overlap.
    """
    cues: list[Cue] = []
    for speaker, track in segments_by_speaker(segments).items():
        fitted = style if speaker is None else _narrowed_for_speaker(speaker, style)
        cues += [replace(cue, speaker=speaker) for cue in _track_cues(track, fitted)]
    return sorted(cues, key=lambda cue: cue.start)


def segments_by_speaker(segments: Iterable[Segment]) -> dict[str | None, list[Segment]]:
    """Group segments by speaker, in order of first appearance."""
    tracks: dict[str | None, list[Segment]] = {}
    for segment in segments:
        tracks.setdefault(segment.speaker, []).append(segment)
    return tracks


def _narrowed_for_speaker(speaker: str, style: CueStyle) -> CueStyle:
    """Return a style whose lines leave room for a label such as `left: `."""
    narrow = style.max_line_width - len(speaker) - 2
    return replace(style, max_line_width=max(narrow, style.max_line_width // 2))


def _track_cues(segments: Sequence[Segment], style: CueStyle) -> list[Cue]:
    cues: list[Cue] = []
    for words, segment in _word_runs(segments):
        if segment is None:
            cues += _cues_from_words(words, style)
        elif lines := _wrap_segment(segment, style):
            start, end = _to_milliseconds(segment.start), _to_milliseconds(segment.end)
            cues.append(Cue(start, end, lines, timed=False))
    return _adjust_times(cues, style)


def _word_runs(segments: Iterable[Segment]) -> Iterator[tuple[list[Word], Segment | None]]:
    """Yield runs of consecutive words, and segments without words."""
    words: list[Word] = []
    for segment in segments:
        if segment.words:
            before = "".join(word.word for word in words[-4:])  # beyond closing quotes
            words += add_word_spaces(segment.words, segment.text, before)
            continue
        if words:
            yield words, None
        words = []
        yield [], segment
    if words:
        yield words, None


def _to_milliseconds(seconds: float) -> int:
    return round(MILLISECONDS * seconds)


def _wrap_segment(segment: Segment, style: CueStyle) -> tuple[tuple[Word, ...], ...]:
    """Wrap the text of a segment without words; its own line breaks are kept."""
    lines = [
        line
        for text in segment.text.splitlines()
        for line in wrap_text(text, style.max_line_width * LETTER_WIDTH)
    ]
    return tuple((Word(line, segment.start, segment.end),) for line in lines)


def _cues_from_words(words: Sequence[Word], style: CueStyle) -> Iterator[Cue]:
    """Segment words into cues at the lowest cost; the times are those of the words."""
    limit = style.max_line_width * LETTER_WIDTH
    units = split_to_units(words, limit, MAX_PAUSE_SECONDS)
    for first, stop in segment_cues(units, style):
        cue_units = units[first:stop]
        lines = break_lines([unit.word for unit in cue_units], limit)
        remaining = iter(cue_units)
        yield Cue(
            _to_milliseconds(cue_units[0].start),
            _to_milliseconds(cue_units[-1].end),
            tuple(tuple(next(remaining) for _ in range(count)) for count in lines),
        )


def _adjust_times(cues: Sequence[Cue], style: CueStyle) -> list[Cue]:
    """Extend each cue to its reading time, as far as its neighbours allow."""
    gap = math.ceil(MILLISECONDS * style.gap_seconds)
    shortest = math.ceil(MILLISECONDS * style.min_cue_seconds)
    result: list[Cue] = []
    earliest_start = 0
    for cue, following in zip_longest(cues, cues[1:]):
        latest_end = math.inf if following is None else following.start - gap
        start = max(earliest_start, cue.start)
        if latest_end - start < shortest:  # the cue may appear before its words
            start = max(earliest_start, min(start, int(latest_end) - shortest))
        end = max(
            min(_desired_end(cue, start, shortest, style), latest_end), start + FRAME_MILLISECONDS
        )
        result.append(replace(cue, start=start, end=int(end)))
        earliest_start = int(end) + gap
    return result


def _desired_end(cue: Cue, start: int, shortest: int, style: CueStyle) -> int:
    if not cue.timed:
        return max(cue.end, start + shortest)
    reading = math.ceil(MILLISECONDS * len(cue.text) / style.max_letters_per_second)
    longest = int(MILLISECONDS * style.max_cue_seconds)
    return min(max(cue.end, start + shortest, start + reading), start + longest)


FREE_PAUSE_SECONDS = 0.5
"""Pause inside a cue that costs nothing, seconds."""
MAX_PAUSE_SECONDS = 2.0
"""Longest pause inside a cue, seconds."""

CUE_COST = 1.5
"""Cost of every cue: fewer cues are better."""
CUE_BREAK_COST = {
    Break.SENTENCE: 0.0,
    Break.CLAUSE: 3.0,
    Break.PHRASE: 7.0,
    Break.WORD: 8.0,
    Break.FUNCTION_WORD: 14.0,
}
"""Cost of a cue by the kind of break at its end."""
PAUSE_BONUS = 6.0
"""Largest reduction of the cost of a break inside a clause, for a pause there."""
FULL_BONUS_PAUSE_SECONDS = 0.5
"""Pause with the full reduction, seconds."""
SENTENCE_INSIDE_COST = 3.0
"""Cost of every sentence end inside a cue."""
PAUSE_COST = 4.0
"""Cost of a second of pause inside a cue, beyond `FREE_PAUSE_SECONDS`."""
TOO_SHORT_COST = 40.0
"""Cost of a second that a cue lacks to the shortest display time."""
TOO_FAST_COST = 10.0
"""Cost of a second that a cue lacks to its reading time."""


def segment_cues(units: Sequence[Word], style: CueStyle) -> list[tuple[int, int]]:
    """Find the segmentation of words into cues with the lowest total cost.

    Args:
        units: Words or parts of words, none wider than a line.
        style: Layout and reading speed.

    Returns:
        For each cue the index of its first word and of the word after its last.
    """
    costs = _CueCosts(units, style)
    best = [0.0] + [math.inf] * len(units)
    came_from = [0] * (len(units) + 1)
    for first in range(len(units)):
        for stop, cost in costs.candidates_from(first):
            if (total := best[first] + cost) < best[stop]:
                best[stop], came_from[stop] = total, first
    stop = len(units)
    found = []
    while stop:
        found.append((came_from[stop], stop))
        stop = came_from[stop]
    return found[::-1]


class _CueCosts:
    """Costs of all possible cues."""

    def __init__(self, units: Sequence[Word], style: CueStyle) -> None:
        self.units = units
        self.style = style
        self.widths = [display_width(unit.word) for unit in units]
        self.trimmed_widths = [display_width(unit.word.strip()) for unit in units]
        following = [*(unit.word for unit in units[1:]), ""]
        self.break_kinds = [
            break_after(unit.word, after) for unit, after in zip(units, following, strict=True)
        ]
        self.pauses = [max(0.0, b.start - a.end) for a, b in pairwise(units)] + [math.inf]
        self.inner_costs = [
            PAUSE_COST * max(0.0, pause - FREE_PAUSE_SECONDS)
            + SENTENCE_INSIDE_COST * (kind is Break.SENTENCE)
            for pause, kind in zip(self.pauses, self.break_kinds, strict=True)
        ]
        self.end_costs = list(map(self._end_cost, range(len(units))))

    def _end_cost(self, index: int) -> float:
        bonus = PAUSE_BONUS * min(1.0, self.pauses[index] / FULL_BONUS_PAUSE_SECONDS)
        last = index + 1 == len(self.units)
        return CUE_COST + (
            0.0 if last else max(0.0, CUE_BREAK_COST[self.break_kinds[index]] - bonus)
        )

    def candidates_from(self, first: int) -> Iterator[tuple[int, float]]:
        """Yield (stop, cost) of all cues that begin at a unit and fit the layout."""
        style, units = self.style, self.units
        start = units[first].start
        limit = style.max_line_width * LETTER_WIDTH
        lines, filled, letters, inside = 1, 0, 0, 0.0
        for index in range(first, len(units)):
            # Filling each line as far as it goes needs the fewest lines.
            if filled and filled + self.widths[index] > limit:
                lines, filled = lines + 1, 0
            filled += self.widths[index] if filled else self.trimmed_widths[index]
            too_long = units[index].end - start > style.max_cue_seconds
            if index > first and (lines > style.max_lines or too_long):
                return
            letters += len(units[index].word)
            yield index + 1, self.end_costs[index] + inside + self._time_cost(start, index, letters)
            if self.pauses[index] > MAX_PAUSE_SECONDS:
                return
            inside += self.inner_costs[index]

    def _time_cost(self, start: float, index: int, letters: int) -> float:
        """Return the cost of too little time before the next cue to read this one."""
        if index + 1 == len(self.units):
            return 0.0
        slot = self.units[index + 1].start - start - self.style.gap_seconds
        too_short = self.style.min_cue_seconds - slot
        too_fast = letters / self.style.max_letters_per_second - slot
        return TOO_SHORT_COST * max(0.0, too_short) + TOO_FAST_COST * max(0.0, too_fast)
