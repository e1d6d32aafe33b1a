"""Lists of recordings in files: a path or URL a line, JSON lines, CSV and TSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import find_audio_language

PATH_KEYS = ("path", "audio_filepath", "audio", "file")
"""What manifests call the recording, in order of preference."""

REFERENCE_KEYS = ("reference", "text")
"""What manifests call what is said in it."""

JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
"""Manifests that are known as such by their names."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One line of a list."""

    path: str
    """A path, counted from the list's folder, or a URL."""
    where: str
    """The list and the line, for messages."""
    language: str | None = None
    """English name of the spoken language."""
    reference: str | None = None


def read_manifest(path: Path) -> Iterator[ManifestEntry | UsageError]:
    """Read a list of recordings; a line that can't be used is a problem, and the others go on.

    `.jsonl`, `.ndjson` and `.json` hold one JSON object a line, `.csv` and `.tsv` a table with a
    header. They name `path`, and `language` and `bundled_reference` where they know them; other columns
    have no meaning. Any other file holds a path or URL a line; blank lines and those that begin
    with # are left out.

    Raises:
        UsageError: The file can't be read, or a table has no column of paths.
    """
    text = _read_text(path)
    kind = path.suffix.lower()
    if kind in _DELIMITERS:
        return _parse_table(text, path, _DELIMITERS[kind])
    if kind in (*JSON_LINES_SUFFIXES, ".json"):
        return _parse_json_lines(text, path)
    return _parse_lines(text, path)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        # Windows' shell redirects into UTF-16. Names that are no UTF-8 come through as they are.
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if wide else "utf-8-sig", errors="surrogateescape")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"this list can't be read: {reason}", str(path), "check it") from error


def _numbered_lines(text: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yield lines that are not blank, and where they stand."""
    # Not splitlines: names and JSON may hold what else it takes for a line's end.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield line.removesuffix("\r"), _line_location(path, number)


def _line_location(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _parse_lines(text: str, path: Path) -> Iterator[ManifestEntry]:
    for line, where in _numbered_lines(text, path):
        if not line.lstrip().startswith("#"):
            yield ManifestEntry(line, where)


def _parse_json_lines(text: str, path: Path) -> Iterator[ManifestEntry | UsageError]:
    for line, where in _numbered_lines(text, path):
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield UsageError(f"no JSON: {error}", where, "write one JSON object a line")
            continue
        if isinstance(row, dict):
            yield _make_entry(row, where)
        else:
            yield UsageError("no JSON object", where, 'write {"path": ...}')


def _parse_table(text: str, path: Path, delimiter: str) -> Iterator[ManifestEntry | UsageError]:
    lines = list(io.StringIO(text, newline=""))
    if lines and delimiter == "," and lines[0].count(";") > lines[0].count(","):
        delimiter = ";"  # spreadsheets in half of Europe
    rows = _csv_rows(lines, path, delimiter)
    _, header = next(rows, ("", []))
    names = [] if isinstance(header, UsageError) else [cell.strip().lower() for cell in header]
    if not set(names) & set(PATH_KEYS):
        remedy = f"begin with a header that has a column {PATH_KEYS[0]}"
        raise UsageError(f"no column of paths among {', '.join(names)}", str(path), remedy)
    return _table_entries(rows, names)


def _table_entries(
    rows: Iterator[tuple[str, list[str] | UsageError]], names: Sequence[str]
) -> Iterator[ManifestEntry | UsageError]:
    for where, row in rows:
        if isinstance(row, UsageError):
            yield row
        elif len(row) > len(names):
            problem = f"{len(row)} cells under a header of {len(names)}"
            yield UsageError(problem, where, 'put "quotes" around texts with commas')
        elif any(cell.strip() for cell in row):
            cells = zip(names, row, strict=False)
            yield _make_entry({name: cell for name, cell in cells if cell.strip()}, where)


def _csv_rows(
    lines: Sequence[str], path: Path, delimiter: str
) -> Iterator[tuple[str, list[str] | UsageError]]:
    """Yield rows and where they begin; after a bad line the next one begins anew."""
    start = 0
    while start < len(lines):
        rest = (lines[index] for index in range(start, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        done = 0
        try:
            for row in reader:
                yield _line_location(path, start + done + 1), row
                done = reader.line_num
            return
        except csv.Error as error:
            where = _line_location(path, start + done + 1)
            yield where, UsageError(f"can't be read: {error}", where, "check its quotes")
            start += done + 1


def _make_entry(row: Mapping[str, Any], where: str) -> ManifestEntry | UsageError:
    path, reference, language = (
        _first_present(row, keys) for keys in (PATH_KEYS, REFERENCE_KEYS, ("language",))
    )
    if not isinstance(path, str) or not path:
        has = ", ".join(map(str, row)) or "none"
        return UsageError("no path of a recording", where, f'it needs "path"; it has {has}')
    if not isinstance(reference, str | None) or not isinstance(language, str | None):
        return UsageError("language and reference must be texts", where, "correct this line")
    try:
        (reference or "").encode()
        return ManifestEntry(path, where, _language_name(language) if language else None, reference)
    except UnicodeEncodeError:
        return UsageError("the reference is no UTF-8", where, "save the file as UTF-8")
    except UsageError as error:
        return UsageError(f"{error.what}: {language}", where, error.remedy)


def _first_present(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


@lru_cache(maxsize=256)
def _language_name(text: str) -> str:
    return find_audio_language(text).name
