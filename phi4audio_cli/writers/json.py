"""JSON with the keys openai-whisper writes, and ours beside them.

Tools that read whisper's JSON read this. Nothing in it depends on speed, date or batching: the
same recording, model and settings give the same bytes.
"""

from __future__ import annotations

import json
import math
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_language
from phi4audio_cli.types import Metadata, Segment, Transcript, Word

SCHEMA_VERSION = "1"


def render(result: Transcript, metadata: Metadata) -> str:
    """Return the result as an indented JSON object with a final newline."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "phi4audio": metadata.version,
        "model": metadata.model,
        "source": metadata.source,
        "task": result.task,
        "prompt": result.prompt,
        "duration": result.duration,
        "language": _language_code(result.language),
        "text": result.text,
        "segments": [_segment(segment) for segment in result.segments],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _language_code(name: str | None) -> str | None:
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
        "avg_logprob": _number(segment.avg_logprob),
        "times_from": segment.times_from,
        "finish": segment.finish,
    }
    # Whisper's readers take "words" as a promise that every text is in them.
    if segment.words:
        entry["words"] = [_word(word) for word in segment.words]
    return entry


def _word(word: Word) -> dict[str, Any]:
    entry: dict[str, Any] = {"word": word.word, "start": word.start, "end": word.end}
    if word.probability is not None:
        entry["probability"] = _number(word.probability)
    return entry


def _number(value: float | None) -> float | None:
    """Return what JSON can hold: it has neither NaN nor infinities."""
    return value if value is not None and math.isfinite(value) else None
