"""JSON with the keys openai-whisper writes, and ours beside them.

Tools that read whisper's JSON read this. Nothing in it depends on speed, date or batching: the
same recording, model and settings give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_language
from phi4audio_cli.text.repetition import repetition
from phi4audio_cli.text.units import words_per_second
from phi4audio_cli.types import Metadata, Segment, Transcript, Word

SCHEMA_VERSION = "1"

DIGITS = 3
"""Of scores that are computed from the text."""


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the result as an indented JSON object with a final newline."""
    return dump(document(result, metadata))


def dump(entries: Mapping[str, Any]) -> str:
    """Return an indented JSON object with a final newline."""
    return json.dumps(entries, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def document(result: Transcript, metadata: Metadata) -> dict[str, Any]:
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
        "segments": [_segment(segment) for segment in result.segments],
    }


def language_code(name: str | None) -> str | None:
    """Return the code of a language, as whisper writes it; a name unknown to us stays."""
    try:
        return find_language(name).code if name else None
    except UsageError:
        return name


def _segment(segment: Segment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": segment.id,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": number(segment.avg_logprob),
        "times_from": segment.times_from,
        "finish": segment.finish,
        "words_per_second": _rounded(words_per_second(segment.text, segment.end - segment.start)),
        "repetition": _rounded(repetition(segment.text)),
    }
    if segment.speaker is not None:
        entry["speaker"] = segment.speaker
    for key, names in (("flags", segment.flags), ("tried", segment.tried)):
        if names:
            entry[key] = list(names)
    # Whisper's readers take "words" as a promise that every text is in them.
    if segment.words:
        entry["words"] = [_word(word) for word in segment.words]
    if segment.transcript is not None:
        entry["transcript"] = segment.transcript
    return entry


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _word(word: Word) -> dict[str, Any]:
    entry: dict[str, Any] = {"word": word.word, "start": word.start, "end": word.end}
    if word.probability is not None:
        entry["probability"] = number(word.probability)
    return entry


def number(value: float | None) -> float | None:
    """Return what JSON can hold: it has neither NaN nor infinities."""
    return value if value is not None and math.isfinite(value) else None
