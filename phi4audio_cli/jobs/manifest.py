"""Manifests: lists of recordings as plain text, JSON lines, CSV and TSV."""

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
from phi4audio_cli.storage import error_reason

PATH_KEYS = ("path", "audio_filepath", "audio", "file")
"""Names of the column with the recording's path, in order of preference."""

REFERENCE_KEYS = ("reference", "text")
"""Names of the column with the reference transcript, in order of preference."""

JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
"""File names that are read as manifests without a leading @."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row of a manifest, of any columns."""

    where: str
    """The manifest and the line, for messages."""
    cells: Mapping[str, Any]

    def first_value(self, keys: Sequence[str]) -> Any:
        """Return the value of the first of several columns that has one; None if none has."""
        return next((self.cells[key] for key in keys if self.cells.get(key) is not None), None)

    def column_names(self) -> str:
        """Return the names of its columns, for messages."""
        return ", ".join(map(str, self.cells)) or "none"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One recording of a manifest."""

    path: str
    """A path relative to the manifest's folder, or a URL."""
    where: str
    """The manifest and the line, for messages."""
    language: str | None = None
    """English name of the spoken language."""
    reference: str | None = None


def read_manifest(path: Path) -> Iterator[ManifestEntry | UsageError]:
    """Read a manifest; an invalid line gives an error, and the next lines are still read.

    `.jsonl`, `.ndjson` and `.json` contain one JSON object per line, `.csv` and `.tsv` a table
    with a header. Their columns are `path`, and optionally `language` and `reference`; other
    columns are ignored. Any other file contains one path or URL per line; blank lines and lines
    that begin with # are skipped. If it has NUL characters, these separate the paths, as
    `find -print0` writes them.

    Raises:
        UsageError: The file can't be read, or a table has no column of paths.
    """
    return (row if isinstance(row, UsageError) else _to_entry(row) for row in read_rows(path))


def read_rows(path: Path) -> Iterator[ManifestRow | UsageError]:
    """Read the rows of a manifest; an invalid line gives an error.

    A list of plain paths gives rows with the column `path`.

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


def is_utf8(text: str) -> bool:
    """Return whether a text contains no undecodable bytes of its manifest."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        # Windows redirects output into UTF-16. Names in another encoding keep their bytes.
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="surrogateescape")
    except (OSError, ValueError) as error:
        what = f"this list can't be read: {error_reason(error)}"
        raise UsageError(what, str(path), "check its name, its permissions and its text") from error


def _numbered_lines(text: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines that are not blank, each with its location for messages."""
    # Not splitlines: file names and JSON may contain its other line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield line.removesuffix("\r"), _line_location(path, number)


def _line_location(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _parse_lines(text: str, path: Path) -> Iterator[ManifestRow]:
    if "\0" in text:
        # Such names may contain line ends, and begin with #.
        for number, name in enumerate(text.split("\0"), 1):
            if name.strip():
                yield ManifestRow(f"{path}, entry {number}", {PATH_KEYS[0]: name})
        return
    for line, where in _numbered_lines(text, path):
        if not line.lstrip().startswith("#"):
            yield ManifestRow(where, {PATH_KEYS[0]: line})


def _parse_json_lines(text: str, path: Path) -> Iterator[ManifestRow | UsageError]:
    for line, where in _numbered_lines(text, path):
        try:
            cells: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield UsageError(f"invalid JSON: {error}", where, "write one JSON object per line")
            continue
        if isinstance(cells, dict):
            yield ManifestRow(where, cells)
        else:
            yield UsageError("not a JSON object", where, 'write {"path": ...}')


def _parse_table(text: str, path: Path, delimiter: str) -> Iterator[ManifestRow | UsageError]:
    lines = list(io.StringIO(text, newline=""))
    if lines and delimiter == "," and lines[0].count(";") > lines[0].count(","):
        delimiter = ";"  # spreadsheets in many European locales
    rows = _csv_rows(lines, path, delimiter)
    _, header = next(rows, ("", []))
    names = [] if isinstance(header, UsageError) else [cell.strip().lower() for cell in header]
    if not set(names) & set(PATH_KEYS):
        remedy = f"begin with a header that has a column {PATH_KEYS[0]}"
        raise UsageError(f"no column of paths among {', '.join(names)}", str(path), remedy)
    return _table_rows(rows, names)


def _table_rows(
    rows: Iterator[tuple[str, list[str] | UsageError]], names: Sequence[str]
) -> Iterator[ManifestRow | UsageError]:
    for where, row in rows:
        if isinstance(row, UsageError):
            yield row
        elif len(row) > len(names):
            what = f"{len(row)} cells under a header of {len(names)}"
            yield UsageError(what, where, 'put "quotes" around texts with commas')
        elif any(cell.strip() for cell in row):
            cells = zip(names, row, strict=False)
            yield ManifestRow(where, {name: cell for name, cell in cells if cell.strip()})


def _csv_rows(
    lines: Sequence[str], path: Path, delimiter: str
) -> Iterator[tuple[str, list[str] | UsageError]]:
    """Yield each row and the location of its first line; reading restarts after a bad line."""
    start = 0
    while start < len(lines):
        rest = (lines[index] for index in range(start, len(lines)))
        # Spaces after a comma are for the reader; a tab needs none, so they belong to the cell.
        skips_spaces = delimiter != "\t"
        reader = csv.reader(rest, delimiter=delimiter, strict=True, skipinitialspace=skips_spaces)
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


def _to_entry(row: ManifestRow) -> ManifestEntry | UsageError:
    path, reference = row.first_value(PATH_KEYS), row.first_value(REFERENCE_KEYS)
    language = row.first_value(("language",))
    if not isinstance(path, str) or not path:
        remedy = f'it needs "path"; its columns are {row.column_names()}'
        return UsageError("no path of a recording", row.where, remedy)
    if not isinstance(reference, str | None) or not isinstance(language, str | None):
        return UsageError("language and reference must be texts", row.where, "correct this line")
    if not is_utf8(reference or ""):
        return UsageError("the reference is not UTF-8", row.where, "save the file as UTF-8")
    try:
        name = _language_name(language) if language else None
    except UsageError as error:
        return UsageError(f"{error.what}: {language}", row.where, error.remedy)
    return ManifestEntry(path, row.where, name, reference)


@lru_cache(maxsize=256)
def _language_name(text: str) -> str:
    return find_audio_language(text).name
