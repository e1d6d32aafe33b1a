"""Speakers' names before what they say, such as `left: Hello`."""

from __future__ import annotations

from collections.abc import Iterator

from phi4audio_cli.types import Result, Segment, Transcript, Translations


def printed(result: Result) -> str:
    """Return the text that is printed: as the txt file has it where speakers are told apart."""
    spoken = [each for each in _segments(result) if each.text.strip()]
    if not any(each.speaker for each in spoken):
        return result.text
    return "\n".join(map(line_of, spoken))


def line_of(segment: Segment) -> str:
    """Return a segment's text on one line, after its speaker where there is one; or nothing."""
    text = " ".join(segment.text.split())
    return prefix(segment.speaker) + text if text else ""


def prefix(speaker: str | None) -> str:
    """Return what stands before a speaker's words; nothing where nobody is told apart."""
    return "" if speaker is None else f"{' '.join(speaker.split())}: "


def _segments(result: Result) -> Iterator[Segment]:
    match result:
        case Transcript(segments=segments):
            yield from segments
        case Translations(each=translations):
            for translation in translations:
                yield from translation.segments
