"""Speaker labels before segment texts, such as `left: Hello`."""

from __future__ import annotations

from collections.abc import Iterator

from phi4audio_cli.types import Result, Segment, Transcript, Translations


def text_with_speakers(result: Result) -> str:
    """Return the text to print: one labelled segment per line if there are speaker labels."""
    spoken = [each for each in _result_segments(result) if each.text.strip()]
    if not any(each.speaker for each in spoken):
        return result.text
    return "\n".join(map(speaker_line, spoken))


def speaker_line(segment: Segment) -> str:
    """Return a segment's text on one line, after its speaker label if any; empty without text."""
    text = " ".join(segment.text.split())
    return speaker_prefix(segment.speaker) + text if text else ""


def speaker_prefix(speaker: str | None) -> str:
    """Return the label before a speaker's text, such as `left: `; empty without a speaker."""
    return "" if speaker is None else f"{' '.join(speaker.split())}: "


def _result_segments(result: Result) -> Iterator[Segment]:
    match result:
        case Transcript(segments=segments):
            yield from segments
        case Translations(each=translations):
            for translation in translations:
                yield from translation.segments
