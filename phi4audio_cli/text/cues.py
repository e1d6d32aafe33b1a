"""Subtitle cues from words: what is on them, and when to show them. Pure.

The rules are those of the big subtitling guides (Netflix, BBC, EBU): whole sentences or clauses
where they fit, few characters a line and a second, no flicker, a little time between cues.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from phi4audio_cli.text.breaks import LETTER, width
from phi4audio_cli.text.division import divide
from phi4audio_cli.text.lines import break_lines, wrap
from phi4audio_cli.text.stitch import is_unspaced
from phi4audio_cli.types import Segment, Word

MILLISECONDS = 1000

FRAME = 42
"""A cue is shown for one frame at least, whatever the times say, milliseconds."""

CLOSING = frozenset(",.;:!?%)]}»”’…、。，！？：；）】」』")
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
    max_letters_a_second: float = 20.0
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
    for speaker, track in by_speaker(segments).items():
        room = style if speaker is None else _with_room_for(speaker, style)
        cues += [replace(cue, speaker=speaker) for cue in _cues(track, room)]
    return sorted(cues, key=lambda cue: cue.start)


def by_speaker(segments: Iterable[Segment]) -> dict[str | None, list[Segment]]:
    """Return the segments of each speaker, in the order in which they begin to speak."""
    tracks: dict[str | None, list[Segment]] = {}
    for segment in segments:
        tracks.setdefault(segment.speaker, []).append(segment)
    return tracks


def _with_room_for(speaker: str, style: CueStyle) -> CueStyle:
    """Leave room for `left: ` on the lines."""
    narrow = style.max_line_width - len(speaker) - 2
    return replace(style, max_line_width=max(narrow, style.max_line_width // 2))


def _cues(segments: Sequence[Segment], style: CueStyle) -> list[Cue]:
    cues: list[Cue] = []
    for words, segment in _runs(segments):
        if segment is None:
            cues += _from_words(words, style)
        elif lines := _wrapped(segment, style):
            start, end = _milliseconds(segment.start), _milliseconds(segment.end)
            cues.append(Cue(start, end, lines, timed=False))
    return _timed(cues, style)


def _runs(segments: Iterable[Segment]) -> Iterator[tuple[list[Word], Segment | None]]:
    """Yield words that follow each other, and segments that have none."""
    words: list[Word] = []
    for segment in segments:
        if segment.words:
            words += spaced(segment.words, words[-1].word if words else "")
            continue
        if words:
            yield words, None
        words = []
        yield [], segment
    if words:
        yield words, None


def spaced(words: Sequence[Word], before: str = "") -> list[Word]:
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
            space = bool(before) and not unspaced_between(before, text)
        result.append(replace(word, word=f" {text}" if space else text))
        before = text
    return result


def unspaced_between(left: str, right: str) -> bool:
    """Whether no space belongs between two texts: in some scripts, and before punctuation."""
    return (is_unspaced(left[-1]) and is_unspaced(right[0])) or right[0] in CLOSING


def _milliseconds(seconds: float) -> int:
    return round(MILLISECONDS * seconds)


def _wrapped(segment: Segment, style: CueStyle) -> tuple[tuple[Word, ...], ...]:
    """Return a whole segment's lines; the line breaks it has are kept."""
    lines = [
        line
        for text in segment.text.splitlines()
        for line in wrap(text, style.max_line_width * LETTER)
    ]
    return tuple((Word(line, segment.start, segment.end),) for line in lines)


def _from_words(words: Sequence[Word], style: CueStyle) -> Iterator[Cue]:
    """Divide words into cues as cheaply as possible; times are those of the words."""
    limit = style.max_line_width * LETTER
    units = [unit for word in words for unit in _narrow(word, limit)]
    for first, stop in divide(units, style):
        shown = units[first:stop]
        lines = break_lines([unit.word for unit in shown], limit)
        places = iter(shown)
        yield Cue(
            _milliseconds(shown[0].start),
            _milliseconds(shown[-1].end),
            tuple(tuple(next(places) for _ in range(count)) for count in lines),
        )


def _narrow(word: Word, limit: int) -> list[Word]:
    """Return a word, or the pieces of one that is wider than a line."""
    if width(word.word.strip()) <= limit:
        return [word]
    pieces = []
    place = 0
    for line in wrap(word.word, limit):
        end = word.word.index(line, place) + len(line)
        pieces.append(word.word[place:end])  # with the space before it
        place = end
    step = (word.end - word.start) / len(pieces)
    return [
        replace(word, word=piece, start=word.start + step * n, end=word.start + step * (n + 1))
        for n, piece in enumerate(pieces)
    ]


def _timed(cues: Sequence[Cue], style: CueStyle) -> list[Cue]:
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
        end = max(min(_wanted_end(cue, start, shortest, style), latest), start + FRAME)
        result.append(replace(cue, start=start, end=int(end)))
        free = int(end) + gap
    return result


def _wanted_end(cue: Cue, start: int, shortest: int, style: CueStyle) -> int:
    if not cue.timed:
        return max(cue.end, start + shortest)
    reading = math.ceil(MILLISECONDS * len(cue.text) / style.max_letters_a_second)
    longest = int(MILLISECONDS * style.max_cue_seconds)
    return min(max(cue.end, start + shortest, start + reading), start + longest)
