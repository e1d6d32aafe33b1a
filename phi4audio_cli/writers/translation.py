"""Translations out: as the transcripts they resemble, and JSON that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from phi4audio_cli.text.bilingual import split_bilingual
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Metadata, Transcript, Translation
from phi4audio_cli.writers import transcript_json

BILINGUAL_FORMATS = ("srt", "vtt", "ass")
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
        return _render_json(result, metadata)
    if result.bilingual and form in BILINGUAL_FORMATS:
        pieces = (piece for each in result.segments for piece in split_bilingual(each, style))
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


def _render_json(result: Translation, metadata: Metadata) -> str:
    """Return a transcript's JSON with the spoken language, and with what was said, beside it."""
    entries = transcript_json.to_document(as_transcript(result), metadata)
    said = join_texts(segment.transcript or "" for segment in result.segments)
    more = {"source_language": transcript_json.language_code(result.source_language)}
    if said:
        more["transcript"] = said
    return transcript_json.dump(entries | more)
