"""The format of journals: their lines, and answers and results as JSON data.

Each line is a CRC-32 checksum (eight hexadecimal digits), a space and a JSON object with one entry:
first the `header`, which contains everything the answers depend on; then one `answer` per request;
then `done`, with the result. Lines after a torn or damaged one are ignored. JSON writes floats with
all their digits, so numbers are restored exactly.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from phi4audio_cli.locations import Location
from phi4audio_cli.storage import read_bytes
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

RESULT_TYPES: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (Transcript, Translations, Summary, Answer)
}


@dataclass(frozen=True, slots=True)
class JournalEntries:
    """The valid entries of a journal."""

    contents: tuple[bytes, ...] = ()
    """The JSON of each line, not parsed yet."""
    valid_bytes: int = 0
    """Number of bytes of those lines in the file."""

    @classmethod
    def parse(cls, data: bytes) -> JournalEntries:
        """Read lines until one is torn or damaged."""
        lines: list[bytes] = []
        length = 0
        for line in data.splitlines(keepends=True):
            content = _verified_content(line)
            if content is None:
                break
            lines.append(content)
            length += len(line)
        return cls(tuple(lines), length)

    @property
    def header(self) -> Mapping[str, Any] | None:
        """Everything the answers depend on; None for an empty journal."""
        return _parse_entry(self.contents[0], "header") if self.contents else None

    @property
    def done(self) -> Mapping[str, Any] | None:
        """The result; None for an unfinished recording."""
        return _parse_entry(self.contents[-1], "done") if self.contents else None

    def answers(self) -> dict[str, Mapping[str, Any]]:
        """Return the answers by the keys of their requests."""
        found = (_parse_entry(line, "answer") for line in self.contents)
        return {entry["key"]: entry for entry in found if entry}


def read_journal(location: Location) -> JournalEntries:
    """Read a journal without opening it for writing; a missing or unreadable one is empty."""
    try:
        return JournalEntries.parse(read_bytes(location))
    except OSError:
        return JournalEntries()


def encode_line(kind: str, entry: Mapping[str, Any]) -> bytes:
    """Return the line of an entry."""
    content = json.dumps({kind: entry}).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _verified_content(line: bytes) -> bytes | None:
    checksum, _, content = line.removesuffix(b"\n").partition(b" ")
    is_complete = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(content)
    return content if is_complete else None


def _parse_entry(line: bytes, kind: str) -> Mapping[str, Any] | None:
    entry: Any = json.loads(line).get(kind)
    return entry if isinstance(entry, dict) else None


# Answers and results.


def request_key(request: Request) -> str:
    """Return a digest that is equal for two requests of one recording with equal answers."""
    chunk = request.chunk
    fields = [
        chunk and [chunk.start, chunk.stop, chunk.sample_rate, chunk.speaker],
        request.prompt,
        request.system,
        request.label,
        request.attempt,
        request.max_new_tokens,
        request.align,
        request.repetition_penalty,
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:32]


def answer_to_json(answer: Generation) -> dict[str, Any]:
    """Return an answer as JSON data, with the key of its request in place of the request."""
    return {
        "key": request_key(answer.request),
        "text": answer.text,
        "tokens": answer.tokens,
        "logprobs": answer.logprobs,
        "finish": answer.finish,
        "words": [[each.word, each.start, each.end, each.probability] for each in answer.words],
    }


def answer_from_json(entry: Mapping[str, Any], request: Request) -> Generation:
    """Return the answer to a request from its JSON data.

    Raises:
        KeyError, TypeError: Data of another structure.
    """
    return Generation(
        request,
        text=entry["text"],
        tokens=tuple(entry["tokens"]),
        logprobs=tuple(entry["logprobs"]),
        finish=entry["finish"],
        words=tuple(Word(*each) for each in entry["words"]),
    )


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result as JSON data."""
    return {"kind": type(result).__name__, "value": asdict(result)}


def result_from_json(entry: Mapping[str, Any]) -> Result:
    """Return a result from its JSON data.

    Raises:
        KeyError: An unknown kind of result.
        ValueError: Data of another structure.
    """
    result: Result = _type_adapter(entry["kind"]).validate_python(entry["value"])
    return result


def round_trip_result(result: Result) -> Result:
    """Return a result as a journal restores it, so that the outputs of both are the same."""
    return result_from_json(json.loads(json.dumps(result_to_json(result))))


@cache
def _type_adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(RESULT_TYPES[kind])
