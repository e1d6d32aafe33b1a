"""Answers and results as plain data, and back: what a journal's lines hold.

Numbers come back exactly as they were: JSON writes a float with all its digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from phi4audio_cli.types import (
    Answer,
    Generation,
    Request,
    Result,
    Summary,
    Transcript,
    Translations,
    Word,
)

KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (Transcript, Translations, Summary, Answer)
}


def request_key(request: Request) -> str:
    """Return what two requests of one recording have in common when their answers must be equal."""
    chunk = request.chunk
    heard = chunk and [chunk.start, chunk.stop, chunk.sample_rate, chunk.speaker]
    asked = [
        heard,
        request.prompt,
        request.system,
        request.label,
        request.attempt,
        request.max_new_tokens,
        request.align,
        request.repetition_penalty,
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def pack_answer(answer: Generation) -> dict[str, Any]:
    """Return an answer as JSON can hold it, with its request's key in place of the request."""
    return {
        "key": request_key(answer.request),
        "text": answer.text,
        "tokens": answer.tokens,
        "logprobs": answer.logprobs,
        "finish": answer.finish,
        "words": [[each.word, each.start, each.end, each.probability] for each in answer.words],
    }


def unpack_answer(entry: Mapping[str, Any], request: Request) -> Generation:
    """Return the answer to a request from its plain data.

    Raises:
        KeyError, TypeError: It is none.
    """
    return Generation(
        request,
        text=entry["text"],
        tokens=tuple(entry["tokens"]),
        logprobs=tuple(entry["logprobs"]),
        finish=entry["finish"],
        words=tuple(Word(*each) for each in entry["words"]),
    )


def pack_result(result: Result) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    return {"kind": type(result).__name__, "value": asdict(result)}


def unpack_result(entry: Mapping[str, Any]) -> Result:
    """Return a result from its plain data.

    Raises:
        KeyError: It is of no kind that is known.
        ValueError: It is not what its kind must be.
    """
    result: Result = _reader(entry["kind"]).validate_python(entry["value"])
    return result


def as_kept(result: Result) -> Result:
    """Return a result as a journal gives it back, so that what is written of both is the same."""
    return unpack_result(json.loads(json.dumps(pack_result(result))))


@cache
def _reader(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[kind])
