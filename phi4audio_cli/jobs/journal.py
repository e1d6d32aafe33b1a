"""Journals: the answers and the result of one recording, stored so that a run can resume.

Lines are only appended. Each line is a CRC-32 checksum (eight hexadecimal digits), a space and a
JSON object with one entry: first the `header`, which says what the answers depend on; then one
`answer` per request; then `done`, with the result. Lines after a torn or damaged one are ignored.
JSON writes floats with all their digits, so numbers are restored exactly.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from phi4audio_cli.jobs.lock import try_lock
from phi4audio_cli.storage import STATE_DIR, Location, RemotePath, read_bytes, write_atomic
from phi4audio_cli.types import (
    Answer,
    Generation,
    Job,
    Request,
    Result,
    Summary,
    Transcript,
    Translations,
    Word,
)

MAX_JOURNAL_NAME_BYTES = 200
"""Bytes of a journal's name; file systems take 255."""


def journal_path(job: Job, task: str) -> Location:
    """Return where a recording's journal lies: beside its first output, in a folder of ours."""
    key, path = next(iter(job.outputs.items()))
    if path.name.endswith(f".{key}"):
        stem = path.name.removesuffix(f".{key}")
    else:  # a name that the user made; it need not tell recordings apart without its format
        place = job.url or os.path.abspath(job.source)  # noqa: PTH100
        stem = f"{job.source.name}-{_hash_of_text(place)}"
    variants = dict.fromkeys(name.rpartition(".")[0] for name in job.outputs)
    parts = [stem, "+".join(filter(None, variants)), task.lower()]
    name = ".".join(filter(None, parts))
    if len(os.fsencode(name)) > MAX_JOURNAL_NAME_BYTES:
        start = os.fsdecode(os.fsencode(name)[: MAX_JOURNAL_NAME_BYTES - 20])
        name = f"{start}-{_hash_of_text(name)}"
    return path.parent / STATE_DIR / f"{name}.journal"


def _hash_of_text(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


RESULT_TYPES: Mapping[str, type[Any]] = {
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


def answer_to_json(answer: Generation) -> dict[str, Any]:
    """Return an answer as JSON can hold it, with its request's key in place of the request."""
    return {
        "key": request_key(answer.request),
        "text": answer.text,
        "tokens": answer.tokens,
        "logprobs": answer.logprobs,
        "finish": answer.finish,
        "words": [[each.word, each.start, each.end, each.probability] for each in answer.words],
    }


def answer_from_json(entry: Mapping[str, Any], request: Request) -> Generation:
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


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    return {"kind": type(result).__name__, "value": asdict(result)}


def result_from_json(entry: Mapping[str, Any]) -> Result:
    """Return a result from its plain data.

    Raises:
        KeyError: It is of no kind that is known.
        ValueError: It is not what its kind must be.
    """
    result: Result = _type_adapter(entry["kind"]).validate_python(entry["value"])
    return result


def round_trip_result(result: Result) -> Result:
    """Return a result as a journal gives it back, so that what is written of both is the same."""
    return result_from_json(json.loads(json.dumps(result_to_json(result))))


@cache
def _type_adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(RESULT_TYPES[kind])


SYNC_SECONDS = 1.0
"""How much work a power cut may cost; a crash of the program costs none."""


@dataclass(frozen=True, slots=True)
class JournalEntries:
    """What can be believed of a journal."""

    contents: Sequence[bytes]
    """The JSON of each line, not parsed yet."""
    valid_bytes: int
    """Bytes of those lines in the file."""

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
        return cls(lines, length)

    @property
    def header(self) -> Mapping[str, Any] | None:
        """What the answers depend on; None where there is no journal."""
        return _parse_entry(self.contents[0], "header") if self.contents else None

    @property
    def done(self) -> Mapping[str, Any] | None:
        """The result; None where the recording is not finished."""
        return _parse_entry(self.contents[-1], "done") if self.contents else None

    def answers(self) -> dict[str, Mapping[str, Any]]:
        """Return the answers by their requests' keys."""
        found = (_parse_entry(line, "answer") for line in self.contents)
        return {entry["key"]: entry for entry in found if entry}


class Journal:
    """A journal that belongs to this process as long as it is open. Made by `claim`."""

    def __init__(self, file: BinaryIO, entries: JournalEntries) -> None:
        self._file = file
        self._synced_at = time.monotonic()
        self.entries = entries

    @classmethod
    def open_exclusive(cls, path: Path) -> Journal | None:
        """Open a recording's journal, or begin one; cut off what can't be believed.

        Returns:
            None where another job has it.

        Raises:
            OSError: It can't be read or written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        try:
            if not try_lock(file):
                file.close()
                return None
            file.seek(0)
            pages = JournalEntries.parse(file.read())
            file.truncate(pages.valid_bytes)
        except BaseException:
            file.close()
            raise
        return cls(file, pages)

    def reset(self, header: Mapping[str, Any]) -> None:
        """Forget all, and begin with another header.

        Raises:
            OSError: It can't be written.
        """
        self._file.truncate(0)
        self.entries = JournalEntries((), 0)
        self.append("header", header)

    def append(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add a line. It outlives the process at once, and a power cut after a second.

        Raises:
            OSError: It can't be written; nothing may be added then.
        """
        self._file.write(encode_line(kind, entry))
        self._file.flush()
        if kind == "done" or time.monotonic() - self._synced_at >= SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Let go of it; others may claim it."""
        try:
            self._file.close()
        except OSError:  # what was not written was told when it was to be
            return


def encode_line(kind: str, entry: Mapping[str, Any]) -> bytes:
    """Return an entry as journals hold it."""
    content = json.dumps({kind: entry}).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def read_journal(location: Location) -> JournalEntries:
    """Read a journal without claiming it; it is empty where there is none, or it can't be read."""
    try:
        return JournalEntries.parse(read_bytes(location))
    except OSError:
        return JournalEntries((), 0)


def _verified_content(line: bytes) -> bytes | None:
    checksum, _, content = line.removesuffix(b"\n").partition(b" ")
    whole = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(content)
    return content if whole else None


def _parse_entry(line: bytes, kind: str) -> Mapping[str, Any] | None:
    entry: Any = json.loads(line).get(kind)
    return entry if isinstance(entry, dict) else None


UPLOAD_DELAY_SECONDS = 10.0
"""How old an answer gets before it is put: so much work a kill may cost."""


class RemoteJournal:
    """A journal that is put as a whole. Made by `claim`.

    Two jobs may have the same one: the last put stays, and each put is a journal in itself.
    """

    def __init__(self, location: RemotePath, data: bytes) -> None:
        self.entries = JournalEntries.parse(data)
        self._location = location
        self._buffer = bytearray(data[: self.entries.valid_bytes])
        self._dirty = False
        self._upload_error: OSError | None = None
        self._timer: threading.Timer | None = None
        self._state_lock = threading.Lock()
        self._upload_lock = threading.Lock()

    @classmethod
    def open(cls, location: RemotePath) -> RemoteJournal:
        """Read a recording's journal, or begin one; what can't be believed is left out.

        Raises:
            OSError: It can't be read.
        """
        try:
            return cls(location, read_bytes(location))
        except (FileNotFoundError, PermissionError):  # who may not list is refused what isn't there
            return cls(location, b"")

    def reset(self, header: Mapping[str, Any]) -> None:
        """Forget all, and begin with another header; it is put with the first answer."""
        self.entries = JournalEntries((), 0)
        with self._state_lock:
            self._buffer = bytearray(encode_line("header", header))

    def append(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add a line. It is put soon; `done_indexes` at once.

        Raises:
            OSError: It, or one before it, can't be put.
        """
        line = encode_line(kind, entry)
        with self._state_lock:
            if self._upload_error:
                raise self._upload_error
            self._buffer += line
            self._dirty = True
            if self._timer is None and kind != "done":
                self._timer = threading.Timer(UPLOAD_DELAY_SECONDS, self._upload_from_timer)
                self._timer.daemon = True
                self._timer.start()
        if kind == "done":
            self._upload()

    def close(self) -> None:
        """Let go of it; what isn't put yet is put now, if it can be."""
        with suppress(OSError):  # what can't be put is asked again
            self._upload()

    def _upload_from_timer(self) -> None:
        try:
            self._upload()
        except OSError as error:
            self._upload_error = error

    def _upload(self) -> None:
        with self._upload_lock:  # an older state must not come after a newer one
            with self._state_lock:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                data = bytes(self._buffer) if self._dirty else b""
                self._dirty = False
            if data:
                try:
                    write_atomic(self._location, data)
                except BaseException:
                    self._dirty = True  # closing it tries once more
                    raise
