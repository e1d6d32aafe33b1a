"""A transcript as JSON: writing, reading back, and the published JSON Schema.

The keys are those of openai-whisper plus additional ones, so tools that read whisper's JSON read
this. The content does not depend on speed, date or batching. `tools/make_schema.py` generates
`docs/transcript.schema.json` from the classes here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_language
from phi4audio_cli.text.degenerate import repeated_share
from phi4audio_cli.text.words import words_per_second
from phi4audio_cli.types import Metadata, Segment, Transcript, Word

SCHEMA_VERSION = "1"

SCORE_DIGITS = 3
"""Decimal digits of scores that are computed from the text."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the result as an indented JSON object with a final newline."""
    return dump(to_document(result, metadata))


def dump(entries: Mapping[str, Any]) -> str:
    """Return an indented JSON object with a final newline."""
    return json.dumps(entries, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def to_document(result: Transcript, metadata: Metadata) -> dict[str, Any]:
    """Return the JSON object of a transcript."""
    return {
        "schema_version": SCHEMA_VERSION,
        "phi4audio": metadata.version,
        "model": metadata.model,
        "source": metadata.source,
        "task": result.task,
        "prompt": result.prompt,
        "duration": result.duration,
        "language": language_code(result.language),
        "language_from": result.language_from,
        "speech": result.speech,
        "uncovered": result.uncovered,
        "text": result.text,
        "segments": [_segment_entry(segment) for segment in result.segments],
    }


def language_code(name: str | None) -> str | None:
    """Return the code of a language by its English name; an unknown name is returned as it is."""
    try:
        return find_language(name).code if name else None
    except UsageError:
        return name


def _language_name(code: str | None) -> str | None:
    """Return the English name of a language by its code; an unknown code is returned as it is."""
    try:
        return find_language(code).name if code else None
    except UsageError:
        return code


def _segment_entry(segment: Segment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": segment.id,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": finite_or_none(segment.avg_logprob),
        "times_from": segment.times_from,
        "finish": segment.finish,
        "words_per_second": _round_score(
            words_per_second(segment.text, segment.end - segment.start)
        ),
        "repetition": _round_score(repeated_share(segment.text)),
    }
    if segment.speaker is not None:
        entry["speaker"] = segment.speaker
    for key, names in (("flags", segment.flags), ("tried", segment.tried)):
        if names:
            entry[key] = list(names)
    # Readers of whisper's JSON expect all of the text in "words", so it is left out if empty.
    if segment.words:
        entry["words"] = [_word_entry(word) for word in segment.words]
    if segment.transcript is not None:
        entry["transcript"] = segment.transcript
    return entry


def _round_score(value: float | None) -> float | None:
    return None if value is None else round(value, SCORE_DIGITS)


def _word_entry(word: Word) -> dict[str, Any]:
    entry: dict[str, Any] = {"word": word.word, "start": word.start, "end": word.end}
    if word.probability is not None:
        entry["probability"] = finite_or_none(word.probability)
    return entry


def finite_or_none(value: float | None) -> float | None:
    """Return a finite number, or None: JSON has neither NaN nor infinities."""
    return value if value is not None and math.isfinite(value) else None


class WordEntry(BaseModel):
    """A word, with the keys of openai-whisper."""

    model_config = ConfigDict(extra="allow")

    word: str = Field(description="With the space before it, if its script has spaces.")
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    probability: float | None = None


class SegmentEntry(BaseModel):
    """A segment of the transcript, with the keys of openai-whisper and additional ones."""

    model_config = ConfigDict(extra="allow")

    id: int
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    text: str
    avg_logprob: float | None = Field(None, description="Mean log-probability of its tokens.")
    times_from: Literal["attention", "speech", "chunk"] = Field(
        "chunk",
        description="attention: words aligned with the audio; speech: word times interpolated over "
        "the speech by word length; chunk: start and end of the chunk given to the model.",
    )
    finish: Literal["stop", "length"] = Field(
        "stop", description="length: the token budget was used up, the text may be incomplete."
    )
    words_per_second: float | None = Field(
        None,
        description="Words of the text per second of the segment; in scripts without spaces, two "
        "characters count as a word.",
    )
    repetition: float | None = Field(
        None, description="Share of words that only repeat the words right before them, 0 to 1."
    )
    speaker: str | None = Field(
        None, description="Speaker label, where channels are transcribed separately."
    )
    flags: tuple[str, ...] = Field(
        (),
        description="Signs that the text is wrong: empty (over clear speech), refusal, echo (of "
        "the prompt), script (not of the language), loop, rate (too many words per second), length "
        "(the token budget was used up).",
    )
    tried: tuple[str, ...] = Field(
        (),
        description="Attempts after a suspected defect, the selected one last: first, halves, "
        "penalty (a repetition penalty).",
    )
    words: tuple[WordEntry, ...] = ()


class TranscriptFile(BaseModel):
    """A transcript. The same version may get more keys; readers ignore unknown ones."""

    model_config = ConfigDict(extra="allow", title="phi4audio transcript")

    schema_version: Literal["1"]
    phi4audio: str = Field(description="Version of phi4audio that wrote the file.")
    model: str = Field(description="Model name as given by the user.")
    source: str = Field(description="File name of the recording.")
    task: str
    prompt: str = Field(description="Instruction given to the model with every chunk.")
    duration: float = Field(description="Length of the recording, seconds.")
    language: str | None = Field(description="ISO 639-1 code.")
    language_from: Literal["given", "text"] | None = Field(
        None, description="given: set by the user; text: detected from the text."
    )
    speech: float | None = Field(
        None, description="Seconds of detected speech; null without voice activity detection."
    )
    uncovered: float = Field(0.0, description="Seconds of detected speech without text.")
    text: str
    segments: tuple[SegmentEntry, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a transcript's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TranscriptFile.model_json_schema(),
    }


def read_transcript(path: Path) -> tuple[Transcript, Metadata]:
    """Read a transcript's JSON file.

    Raises:
        UsageError: The file cannot be read, is not a transcript, or of another schema version.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"it can't be read: {error}", str(path), "check the name") from error
    return parse_transcript(content, str(path))


def parse_transcript(content: str, where: str) -> tuple[Transcript, Metadata]:
    """Read a transcript's JSON.

    Args:
        content: Content of the file.
        where: Name of the file, for messages.

    Raises:
        UsageError: The content is not JSON, not a transcript, or of another schema version.
    """
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise UsageError(f"not valid JSON: {error}", where, "make the transcript again") from error
    if not isinstance(entries, dict) or "schema_version" not in entries:
        raise UsageError("not a transcript of phi4audio", where, "give its JSON output")
    version = entries["schema_version"]
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"schema version {version} is unknown, {SCHEMA_VERSION} is supported",
            where,
            "use the version of phi4audio that wrote it, or a newer one",
        )
    try:
        return _to_transcript(TranscriptFile.model_validate(entries))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{key}: {first['msg']}", where, "make the transcript again, or correct the file"
        ) from error


def _to_transcript(file: TranscriptFile) -> tuple[Transcript, Metadata]:
    segments = tuple(_to_segment(entry) for entry in file.segments)
    transcript = Transcript(
        text=file.text,
        language=_language_name(file.language),
        segments=segments,
        duration=file.duration,
        prompt=file.prompt,
        task=file.task,
        language_from=file.language_from,
        speech=file.speech,
        uncovered=file.uncovered,
    )
    return transcript, Metadata(file.source, file.model, file.phi4audio)


def _to_segment(entry: SegmentEntry) -> Segment:
    words = tuple(Word(word.word, word.start, word.end, word.probability) for word in entry.words)
    return Segment(
        id=entry.id,
        start=entry.start,
        end=entry.end,
        text=entry.text,
        times_from=entry.times_from,
        avg_logprob=entry.avg_logprob,
        finish=entry.finish,
        words=words,
        transcript=(entry.model_extra or {}).get("transcript"),
        speaker=entry.speaker,
        flags=entry.flags,
        tried=entry.tried,
    )
