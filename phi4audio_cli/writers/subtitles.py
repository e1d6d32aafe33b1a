"""Shared parts of the subtitle formats: events on the screen, highlighted words, cue times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from phi4audio_cli.text.cues import Cue, CueStyle, make_cues
from phi4audio_cli.types import Transcript

FULL_WIDTH_BRACES = str.maketrans("{}", "｛｝")
"""Full-width braces look alike; players take text between real braces for commands."""


@dataclass(frozen=True, slots=True)
class SubtitleEvent:
    """A text shown for some time, in milliseconds. Texts are not escaped."""

    start: int
    end: int
    before: str
    """Text before the highlighted word, lines separated by line feeds; all of it without one."""
    highlighted: str = ""
    """The highlighted word; empty without one."""
    after: str = ""
    """Text after the highlighted word."""
    speaker: str | None = None

    @property
    def text(self) -> str:
        """The whole text, lines separated by line feeds."""
        return self.before + self.highlighted + self.after


def subtitle_events(result: Transcript, style: CueStyle) -> Iterator[SubtitleEvent]:
    """Yield the events in order: each cue, or each cue once per highlighted word."""
    for cue in make_cues(result.segments, style):
        if not (style.highlight_words and cue.timed):
            yield SubtitleEvent(cue.start, cue.end, cue.text, speaker=cue.speaker)
            continue
        for start, end, index in cue_word_times(cue):
            before, word, after = _split_at_word(cue, index)
            yield SubtitleEvent(start, end, before, word, after, cue.speaker)


def cue_word_times(cue: Cue) -> list[tuple[int, int, int]]:
    """Divide a cue's time among its words without gaps: each lasts until the next one starts.

    Returns:
        Start and end in milliseconds and the word's index in the cue; words without time are
        left out.
    """
    words = [word for line in cue.lines for word in line]
    starts = [cue.start, *(round(1000 * word.start) for word in words[1:]), cue.end]
    for index in range(1, len(words)):
        starts[index] = min(max(starts[index], starts[index - 1]), cue.end)
    spans = enumerate(pairwise(starts))
    return [(start, end, index) for index, (start, end) in spans if start < end]


def _split_at_word(cue: Cue, index: int) -> tuple[str, str, str]:
    """Split a cue's text into the part before a word, the word, and the part after it."""
    pieces: list[str] = []
    for line in cue.lines:
        words = [word.word for word in line]
        words[0] = words[0].lstrip()
        words[-1] = words[-1].rstrip()
        if pieces:
            words[0] = "\n" + words[0]
        pieces += words
    word = pieces[index].lstrip()
    space = pieces[index][: len(pieces[index]) - len(word)]
    return "".join(pieces[:index]) + space, word, "".join(pieces[index + 1 :])


def format_cue_time(milliseconds: int, point: str) -> str:
    """Format a time as `01:02:03,004`, with the given decimal separator."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
