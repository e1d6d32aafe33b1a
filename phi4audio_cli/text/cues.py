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

from phi4audio_cli.text.line_breaks import (
    LETTER_WIDTH,
    Break,
    break_after,
    break_lines,
    display_width,
    wrap_text,
)
from phi4audio_cli.text.words import is_unspaced
from phi4audio_cli.types import Segment, Word

MILLISECONDS = 1000

FRAME_MILLISECONDS = 42
"""A cue is shown for one frame at least, whatever the times say, milliseconds."""

CLOSING_PUNCTUATION = frozenset(",.;:!?%)]}»”’…、。，！？：；）】」』")
"""What no space is written before."""


@dataclass(frozen=True, slots=True)
class CueStyle:
    """How subtitles look."""

    max_line_width: int = 42
    """Letters a line; a full-width character counts as 2.6."""
    max_lines: int = 2
    max_cue_seconds: float = 7.0
    min_cue_seconds: float = 5 / 6
    """Shorter cues flash; kept wherever the next words leave the time."""
    max_letters_per_second: float = 20.0
    """Kept where the speech allows it."""
    gap_seconds: float = 2 / 24
    """Nothing is shown for two frames between cues, so that a change is seen."""
    highlight_words: bool = False
    """Mark each word as it is said."""


DEFAULT_STYLE = CueStyle()


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once. Times in whole milliseconds."""

    start: int
    end: int
    lines: tuple[tuple[Word, ...], ...]
    """The words of each line; joined, they are its text."""
    timed: bool = True
    """Whether the words have times of their own."""
    speaker: str | None = None
    """Who says it, where speakers are told apart."""

    @property
    def text_lines(self) -> tuple[str, ...]:
        """The lines as text."""
        return tuple("".join(word.word for word in line).strip() for line in self.lines)

    @property
    def text(self) -> str:
        """The lines, divided by line feeds."""
        return "\n".join(self.text_lines)


def make_cues(segments: Sequence[Segment], style: CueStyle = DEFAULT_STYLE) -> list[Cue]:
    """Make cues of a transcript's segments.

    Words of neighbouring segments share a cue where that reads better. A segment without words is
    shown as it is, in lines of the right width: nobody knows when its parts were said.

    Args:
        segments: In order; those of one speaker without overlap.
        style: The rules.

    Returns:
        Cues in order, with start < end and lines within the width; those of one speaker at least
        the gap apart, while those of two may be shown at once.
    """
    cues: list[Cue] = []
    for speaker, track in segments_by_speaker(segments).items():
        room = style if speaker is None else _narrowed_for_speaker(speaker, style)
        cues += [replace(cue, speaker=speaker) for cue in _track_cues(track, room)]
    return sorted(cues, key=lambda cue: cue.start)


def segments_by_speaker(segments: Iterable[Segment]) -> dict[str | None, list[Segment]]:
    """Return the segments of each speaker, in the order in which they begin to speak."""
    tracks: dict[str | None, list[Segment]] = {}
    for segment in segments:
        tracks.setdefault(segment.speaker, []).append(segment)
    return tracks


def _narrowed_for_speaker(speaker: str, style: CueStyle) -> CueStyle:
    """Leave room for `left: ` on the lines."""
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
    """Yield words that follow each other, and segments that have none."""
    words: list[Word] = []
    for segment in segments:
        if segment.words:
            words += add_word_spaces(segment.words, words[-1].word if words else "")
            continue
        if words:
            yield words, None
        words = []
        yield [], segment
    if words:
        yield words, None


def add_word_spaces(words: Sequence[Word], before: str = "") -> list[Word]:
    """Return words that, joined, are a text: each with the space that belongs before it.

    Ours and whisper's have their spaces; some tools write words without any.

    Args:
        words: Of one segment.
        before: The text they follow; empty if there is none.
    """
    given = any(word.word != word.word.strip() for word in words)
    result: list[Word] = []
    for index, word in enumerate(words):
        text = " ".join(word.word.split())
        if not text:
            continue
        if given and index:
            space = word.word[:1].isspace() or words[index - 1].word[-1:].isspace()
        else:
            space = bool(before) and not needs_no_space(before, text)
        result.append(replace(word, word=f" {text}" if space else text))
        before = text
    return result


def needs_no_space(left: str, right: str) -> bool:
    """Whether no space belongs between two texts: in some scripts, and before punctuation."""
    return (is_unspaced(left[-1]) and is_unspaced(right[0])) or right[0] in CLOSING_PUNCTUATION


def _to_milliseconds(seconds: float) -> int:
    return round(MILLISECONDS * seconds)


def _wrap_segment(segment: Segment, style: CueStyle) -> tuple[tuple[Word, ...], ...]:
    """Return a whole segment's lines; the line breaks it has are kept."""
    lines = [
        line
        for text in segment.text.splitlines()
        for line in wrap_text(text, style.max_line_width * LETTER_WIDTH)
    ]
    return tuple((Word(line, segment.start, segment.end),) for line in lines)


def _cues_from_words(words: Sequence[Word], style: CueStyle) -> Iterator[Cue]:
    """Divide words into cues as cheaply as possible; times are those of the words."""
    limit = style.max_line_width * LETTER_WIDTH
    units = [unit for word in words for unit in _split_wide_word(word, limit)]
    for first, stop in segment_cues(units, style):
        shown = units[first:stop]
        lines = break_lines([unit.word for unit in shown], limit)
        places = iter(shown)
        yield Cue(
            _to_milliseconds(shown[0].start),
            _to_milliseconds(shown[-1].end),
            tuple(tuple(next(places) for _ in range(count)) for count in lines),
        )


def _split_wide_word(word: Word, limit: int) -> list[Word]:
    """Return a word, or the pieces of one that is wider than a line."""
    if display_width(word.word.strip()) <= limit:
        return [word]
    pieces = []
    place = 0
    for line in wrap_text(word.word, limit):
        end = word.word.index(line, place) + len(line)
        pieces.append(word.word[place:end])  # with the space before it
        place = end
    step = (word.end - word.start) / len(pieces)
    return [
        replace(word, word=piece, start=word.start + step * n, end=word.start + step * (n + 1))
        for n, piece in enumerate(pieces)
    ]


def _adjust_times(cues: Sequence[Cue], style: CueStyle) -> list[Cue]:
    """Give each cue the time it needs to be read, as far as its neighbours leave it."""
    gap = math.ceil(MILLISECONDS * style.gap_seconds)
    shortest = math.ceil(MILLISECONDS * style.min_cue_seconds)
    result: list[Cue] = []
    free = 0
    for cue, following in zip_longest(cues, cues[1:]):
        latest = math.inf if following is None else following.start - gap
        start = max(free, cue.start)
        if latest - start < shortest:  # then it may come before it is said
            start = max(free, min(start, int(latest) - shortest))
        end = max(
            min(_desired_end(cue, start, shortest, style), latest), start + FRAME_MILLISECONDS
        )
        result.append(replace(cue, start=start, end=int(end)))
        free = int(end) + gap
    return result


def _desired_end(cue: Cue, start: int, shortest: int, style: CueStyle) -> int:
    if not cue.timed:
        return max(cue.end, start + shortest)
    reading = math.ceil(MILLISECONDS * len(cue.text) / style.max_letters_per_second)
    longest = int(MILLISECONDS * style.max_cue_seconds)
    return min(max(cue.end, start + shortest, start + reading), start + longest)


FREE_PAUSE_SECONDS = 0.5
"""Seconds of pause inside a cue that cost nothing."""
MAX_PAUSE_SECONDS = 2.0
"""No cue stays through a longer pause, seconds."""

CUE_COST = 1.5
"""Of every cue: fewer are better."""
CUE_BREAK_COST = {
    Break.SENTENCE: 0.0,
    Break.CLAUSE: 3.0,
    Break.PHRASE: 7.0,
    Break.WORD: 8.0,
    Break.FUNCTION_WORD: 14.0,
}
"""Of a cue that ends so."""
PAUSE_BONUS = 6.0
"""A pause takes off up to this of the cost of ending in mid-clause."""
FULL_BONUS_PAUSE_SECONDS = 0.5
"""Seconds of pause that take it all off."""
SENTENCE_INSIDE_COST = 3.0
"""Of every sentence end inside a cue."""
PAUSE_COST = 4.0
"""Of every second of pause inside a cue, beyond the free ones."""
TOO_SHORT_COST = 40.0
"""Of a cue that can't be shown for the shortest time, for each second that lacks."""
TOO_FAST_COST = 10.0
"""Of every second that lacks for reading a cue."""


def segment_cues(units: Sequence[Word], style: CueStyle) -> list[tuple[int, int]]:
    """Find the division of words into cues that costs least.

    Args:
        units: None wider than a line.
        style: How cues look.

    Returns:
        For each cue its first word and the one after its last.
    """
    breaks = _CueCosts(units, style)
    best = [0.0] + [math.inf] * len(units)
    came_from = [0] * (len(units) + 1)
    for first in range(len(units)):
        for stop, cost in breaks.candidates_from(first):
            if (total := best[first] + cost) < best[stop]:
                best[stop], came_from[stop] = total, first
    stop = len(units)
    found = []
    while stop:
        found.append((came_from[stop], stop))
        stop = came_from[stop]
    return found[::-1]


class _CueCosts:
    """What each possible cue costs."""

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
        """Yield (stop, cost) of all cues that begin with a unit and fit the screen."""
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
        """What it costs that the next cue leaves too little time to read this one."""
        if index + 1 == len(self.units):
            return 0.0
        slot = self.units[index + 1].start - start - self.style.gap_seconds
        flash = self.style.min_cue_seconds - slot
        haste = letters / self.style.max_letters_per_second - slot
        return TOO_SHORT_COST * max(0.0, flash) + TOO_FAST_COST * max(0.0, haste)
