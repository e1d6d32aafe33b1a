"""What the subtitle formats share: what is on the screen when, and one word of it marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from phi4audio_cli.text.cues import Cue, CueStyle, make_cues
from phi4audio_cli.types import Transcript, Word

HIGHLIGHT_ON, HIGHLIGHT_OFF = "\ue000", "\ue001"
"""Around a marked word until the format puts its own tags there: characters of no script."""

FULL_WIDTH_BRACES = str.maketrans("{}", "｛｝")
"""Full-width braces look like braces; between real ones players look for commands."""


@dataclass(frozen=True, slots=True)
class SubtitleEvent:
    """A text on the screen. Times in milliseconds."""

    start: int
    end: int
    text: str
    """Lines divided by line feeds; not escaped, a marked word between MARK_ON and MARK_OFF."""
    speaker: str | None = None


def subtitle_events(result: Transcript, style: CueStyle) -> Iterator[SubtitleEvent]:
    """Yield what is shown, in order: a cue, or each of its words marked in turn."""
    for cue in make_cues(result.segments, style):
        if not (style.highlight_words and cue.timed):
            yield SubtitleEvent(cue.start, cue.end, _without_marks(cue.text), cue.speaker)
            continue
        for start, end, word in cue_word_times(cue):
            yield SubtitleEvent(start, end, _highlight_in_cue(cue, word), cue.speaker)


def cue_word_times(cue: Cue) -> list[tuple[int, int, Word]]:
    """Divide a cue's time among its words, without a gap: each until the next one is said."""
    words = [word for line in cue.lines for word in line]
    starts = [cue.start, *(round(1000 * word.start) for word in words[1:]), cue.end]
    for index in range(1, len(words)):
        starts[index] = min(max(starts[index], starts[index - 1]), cue.end)
    spans = zip(starts, starts[1:], words, strict=False)
    return [(start, end, word) for start, end, word in spans if start < end]


def _without_marks(text: str) -> str:
    return text.replace(HIGHLIGHT_ON, "").replace(HIGHLIGHT_OFF, "")


def _highlight_in_cue(cue: Cue, marked: Word) -> str:
    return "\n".join(
        "".join(
            _highlight_word(word) if word is marked else _without_marks(word.word) for word in line
        ).strip()
        for line in cue.lines
    )


def _highlight_word(word: Word) -> str:
    text = _without_marks(word.word)
    bare = text.lstrip()
    return f"{text[: len(text) - len(bare)]}{HIGHLIGHT_ON}{bare}{HIGHLIGHT_OFF}"


def format_cue_time(milliseconds: int, point: str) -> str:
    """Return `01:02:03,004`, with the given decimal point."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
