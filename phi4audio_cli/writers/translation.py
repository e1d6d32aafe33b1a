"""Translations out: as the transcripts they resemble, and JSON that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Metadata, Segment, Transcript, Translation
from phi4audio_cli.writers import json

BILINGUAL = ("srt", "vtt", "ass")
"""Formats that can show what was said above its translation."""


def render(
    form: str,
    writer: Callable[[Transcript, Metadata], str],
    result: Translation,
    metadata: Metadata,
) -> str:
    """Return the content of a translation's file.

    Args:
        form: The format's name.
        writer: That format's writer of transcripts.
        result: The translation.
        metadata: What the file says of its making.
    """
    if form == "json":
        return _json(result, metadata)
    return writer(as_transcript(result, bilingual=result.bilingual and form in BILINGUAL), metadata)


def as_transcript(translation: Translation, *, bilingual: bool = False) -> Transcript:
    """Return what the writers of transcripts take.

    Args:
        translation: With segments that may carry what was said.
        bilingual: Whether what was said stands above each translation.
    """
    segments = translation.segments
    if bilingual:
        segments = tuple(map(_both, segments))
    return Transcript(
        text=translation.text,
        language=translation.language,
        segments=segments,
        duration=translation.duration,
        prompt=translation.prompt,
        task=translation.task,
    )


def _both(segment: Segment) -> Segment:
    if not segment.transcript:
        return segment
    return replace(segment, text=f"{segment.transcript}\n{segment.text}", words=())


def _json(result: Translation, metadata: Metadata) -> str:
    """Return a transcript's JSON with the spoken language, and with what was said, beside it."""
    entries = json.document(as_transcript(result), metadata)
    said = join(segment.transcript or "" for segment in result.segments)
    more = {"source_language": json.language_code(result.source_language)}
    if said:
        more["transcript"] = said
    return json.dump(entries | more)
