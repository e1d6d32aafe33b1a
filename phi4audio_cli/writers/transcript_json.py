"""A transcript as JSON: writing, reading back, and the published JSON Schema.

The keys are those of openai-whisper, plus our own, so tools that read whisper's JSON read this.
The content does not depend on speed, date or batching. `docs/transcript.schema.json` is generated
from the classes here by `scripts/make_schema.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_language
from phi4audio_cli.text.degenerate import repeated_share
from phi4audio_cli.text.words import words_per_second
from phi4audio_cli.types import Metadata, Segment, Transcript, Word

SCHEMA_VERSION = "1"

SCORE_DIGITS = 3
"""Of scores that are computed from the text."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the result as an indented JSON object with a final newline."""
    return dump(to_document(result, metadata))


def dump(entries: Mapping[str, Any]) -> str:
    """Return an indented JSON object with a final newline."""
    return json.dumps(entries, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def to_document(result: Transcript, metadata: Metadata) -> dict[str, Any]:
    """Return what is written, by its keys."""
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
    """Return the code of a language, as whisper writes it; a name unknown to us stays."""
    try:
        return find_language(name).code if name else None
    except UsageError:
        return name


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
    # Whisper's readers take "words" as a promise that every text is in them.
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
    """Return what JSON can hold: it has neither NaN nor infinities."""
    return value if value is not None and math.isfinite(value) else None


class WordEntry(BaseModel):
    """One word, as openai-whisper writes it."""

    model_config = ConfigDict(extra="allow")

    word: str = Field(description="With the space before it, where its script has one.")
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    probability: float | None = None


class SegmentEntry(BaseModel):
    """A stretch of the transcript, as openai-whisper writes it, and where its times come from."""

    model_config = ConfigDict(extra="allow")

    id: int
    start: float = Field(description="Seconds from the start of the recording.")
    end: float = Field(description="Seconds from the start of the recording.")
    text: str
    avg_logprob: float | None = Field(None, description="Mean log-probability of its tokens.")
    times_from: Literal["attention", "speech", "chunk"] = Field(
        "chunk",
        description="attention: words aligned with the sound; speech: words laid over the speech "
        "by their length; chunk: the stretch that was given to the model.",
    )
    finish: Literal["stop", "length"] = Field(
        "stop", description="length: the token budget ran out, the text may end too early."
    )
    words_per_second: float | None = Field(
        None,
        description="Of the text in the segment's time; in scripts without spaces, two characters "
        "count as a word.",
    )
    repetition: float | None = Field(
        None, description="Share of the words that only repeat those right before them, 0 to 1."
    )
    speaker: str | None = Field(None, description="Who says it, where channels were heard apart.")
    flags: tuple[str, ...] = Field(
        (),
        description="Why the text may be wrong: empty (over clear speech), refusal, echo (of the "
        "prompt), script (another than the language's), loop, rate (more words than can be said), "
        "length (the token budget ran out).",
    )
    tried: tuple[str, ...] = Field(
        (),
        description="What was tried because of doubts, the kept attempt last: first, halves, "
        "penalty (a repetition penalty).",
    )
    words: tuple[WordEntry, ...] = ()


class TranscriptFile(BaseModel):
    """A transcript. More keys may be added under the same version; readers skip what is new."""

    model_config = ConfigDict(extra="allow", title="phi4audio transcript")

    schema_version: Literal["1"]
    phi4audio: str = Field(description="Version of the program that wrote it.")
    model: str = Field(description="As the user named it.")
    source: str = Field(description="Name of the recording.")
    task: str
    prompt: str = Field(description="The instruction that was given with every chunk.")
    duration: float = Field(description="Seconds of audio.")
    language: str | None = Field(description="ISO 639-1 code.")
    language_from: Literal["given", "text"] | None = Field(
        None, description="given: the user said so; text: it was detected from the text."
    )
    speech: float | None = Field(
        None, description="Seconds in which speech was heard; null where nobody listened for it."
    )
    uncovered: float = Field(0.0, description="Seconds of speech that have no text.")
    text: str
    segments: tuple[SegmentEntry, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a transcript's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TranscriptFile.model_json_schema(),
    }


def parse_transcript(content: str, where: str) -> tuple[Transcript, Metadata]:
    """Read a transcript's JSON.

    Args:
        content: Of the file.
        where: Its name, for messages.

    Raises:
        UsageError: It is no JSON, no transcript, or of a newer version.
    """
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise UsageError(f"this is no JSON: {error}", where, "make the transcript again") from error
    if not isinstance(entries, dict) or "schema_version" not in entries:
        raise UsageError("this is no transcript of phi4audio", where, "give its JSON output")
    version = entries["schema_version"]
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"its schema version is {version}, and {SCHEMA_VERSION} is known here",
            where,
            "use the phi4audio that wrote it, or a newer one",
        )
    try:
        return _to_transcript(TranscriptFile.model_validate(entries))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{key}: {first['msg']}", where, "make the transcript again, or mend the file"
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


def _language_name(code: str | None) -> str | None:
    try:
        return find_language(code).name if code else None
    except UsageError:
        return code


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
