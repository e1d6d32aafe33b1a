"""Speaker labels before segment texts, such as `left: Hello`."""

from __future__ import annotations

from collections.abc import Iterator

from phi4audio_cli.types import Result, Segment, Transcript, Translations


def text_with_speakers(result: Result) -> str:
    """Return the text that is printed: as the txt file has it where speakers are told apart."""
    spoken = [each for each in _result_segments(result) if each.text.strip()]
    if not any(each.speaker for each in spoken):
        return result.text
    return "\n".join(map(speaker_line, spoken))


def speaker_line(segment: Segment) -> str:
    """Return a segment's text on one line, after its speaker where there is one; or nothing."""
    text = " ".join(segment.text.split())
    return speaker_prefix(segment.speaker) + text if text else ""


def speaker_prefix(speaker: str | None) -> str:
    """Return what stands before a speaker's words; nothing where nobody is told apart."""
    return "" if speaker is None else f"{' '.join(speaker.split())}: "


def _result_segments(result: Result) -> Iterator[Segment]:
    match result:
        case Transcript(segments=segments):
            yield from segments
        case Translations(each=translations):
            for translation in translations:
                yield from translation.segments
