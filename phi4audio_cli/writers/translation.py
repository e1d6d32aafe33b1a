"""Translations: rendered by the transcript writers, with bilingual subtitles and their own JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from phi4audio_cli.text.bilingual import split_bilingual
from phi4audio_cli.text.cues import DEFAULT_STYLE, CueStyle
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Metadata, Transcript, Translation
from phi4audio_cli.writers import transcript_json

BILINGUAL_FORMATS = ("srt", "vtt", "ass")
"""Formats that can show the original above its translation."""


def render(
    form: str,
    writer: Callable[[Transcript, Metadata], str],
    result: Translation,
    metadata: Metadata,
    style: CueStyle = DEFAULT_STYLE,
) -> str:
    """Return the content of a translation's file.

    Args:
        form: Name of the format.
        writer: Transcript writer of the format.
        result: The translation.
        metadata: Origin of the result.
        style: Style of the cues, for subtitle formats.
    """
    transcript = as_transcript(result)
    if form == "json":
        return _render_json(result, metadata)
    if result.bilingual and form in BILINGUAL_FORMATS:
        pieces = (piece for each in result.segments for piece in split_bilingual(each, style))
        transcript = replace(transcript, segments=tuple(pieces))
    return writer(transcript, metadata)


def as_transcript(translation: Translation) -> Transcript:
    """Return a translation as a transcript, for the transcript writers."""
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
    """Return a transcript's JSON with the spoken language and the original text added."""
    entries = transcript_json.to_document(as_transcript(result), metadata)
    original = join_texts(segment.transcript or "" for segment in result.segments)
    added = {"source_language": transcript_json.language_code(result.source_language)}
    if original:
        added["transcript"] = original
    return transcript_json.dump(entries | added)
