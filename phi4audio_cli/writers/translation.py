"""Translations out: as the transcripts they resemble, and JSON that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from phi4audio_cli.text.bilingual import with_original
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Metadata, Transcript, Translation
from phi4audio_cli.writers import json

BILINGUAL = ("srt", "vtt", "ass")
"""Formats that can show what was said above its translation."""


def render(
    form: str,
    writer: Callable[[Transcript, Metadata], str],
    result: Translation,
    metadata: Metadata,
    style: CueStyle = DEFAULT_STYLE,
) -> str:
    """Return the content of a translation's file.

    Args:
        form: The format's name.
        writer: That format's writer of transcripts.
        result: The translation.
        metadata: What the file says of its making.
        style: How subtitles look.
    """
    transcript = as_transcript(result)
    if form == "json":
        return _json(result, metadata)
    if result.bilingual and form in BILINGUAL:
        pieces = (piece for each in result.segments for piece in with_original(each, style))
        transcript = replace(transcript, segments=tuple(pieces))
    return writer(transcript, metadata)


def as_transcript(translation: Translation) -> Transcript:
    """Return what the writers of transcripts take."""
    return Transcript(
        text=translation.text,
        language=translation.language,
        language_from="given",
        segments=translation.segments,
        duration=translation.duration,
        prompt=translation.prompt,
        task=translation.task,
        speech=translation.speech,
        uncovered=translation.uncovered,
    )


def _json(result: Translation, metadata: Metadata) -> str:
    """Return a transcript's JSON with the spoken language, and with what was said, beside it."""
    entries = json.document(as_transcript(result), metadata)
    said = join(segment.transcript or "" for segment in result.segments)
    more = {"source_language": json.language_code(result.source_language)}
    if said:
        more["transcript"] = said
    return json.dump(entries | more)
