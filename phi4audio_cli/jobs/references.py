"""References for evaluation: recordings, or finished texts, with their reference texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.input_source import InputSource, display_url
from phi4audio_cli.jobs.manifest import (
    JSON_LINES_SUFFIXES,
    REFERENCE_KEYS,
    ManifestRow,
    is_utf8,
    read_rows,
)

RECORDING_KEYS = ("audio", "audio_filepath", "path")
"""Names of the column with the recording's path, in order of preference."""

TRANSLATION_KEYS = ("translation", "reference")
"""Names of the column with the reference translation, in order of preference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording with its reference transcript or translation."""

    source: Path
    text: str


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A transcript or translation written by phi4audio, read from its JSON."""

    path: Path
    source: str
    task: str
    text: str
    duration: float | None
    language: str | None
    """Code of the text's language."""


def find_references(
    inputs: Sequence[str], *, language_code: str | None = None, recursive: bool = False
) -> list[Reference]:
    """Find recordings with their references.

    Args:
        inputs: Manifests (JSON lines), recordings, folders and lists of recordings. The reference
            of talk.wav is in the list or next to it as talk.ref.txt, that of its French
            translation as talk.fr.ref.txt.
        language_code: Language of the translations; None for transcripts.
        recursive: Search subfolders too.

    Raises:
        UsageError: A missing input, an invalid line, or a missing reference.
    """
    found: list[Reference] = []
    for each in inputs:
        path = Path(each)
        if _is_manifest(path):
            found += read_reference_manifest(path, language_code=language_code)
            continue
        recordings, problems = find_inputs([each], recursive=recursive)
        if problems:
            raise problems[0]
        for recording in recordings:
            found.append(_find_reference(recording, language_code))
    return found


def _is_manifest(path: Path) -> bool:
    return path.suffix.lower() in JSON_LINES_SUFFIXES


def _find_reference(recording: InputSource, language_code: str | None) -> Reference:
    """Return the reference given by a list, else the one in the file next to the recording.

    Raises:
        UsageError: No reference, or a remote recording.
    """
    if recording.url:
        remedy = "download it first, with its reference next to it"
        raise UsageError("only local files can be scored", display_url(recording.url), remedy)
    source = recording.path
    if language_code is None and recording.reference is not None:
        return Reference(source, recording.reference)
    return Reference(source, _read_reference_file(source, source.stem, language_code))


def read_reference_manifest(path: Path, *, language_code: str | None = None) -> list[Reference]:
    """Read a manifest: one JSON object per line, with `audio` and `reference` (or NeMo's names).

    Raises:
        UsageError: The file can't be read, or a line is invalid.
    """
    found = []
    for row in read_rows(path):
        if isinstance(row, UsageError):
            raise row
        found.append(_to_reference(row, path.parent, language_code))
    if not found:
        raise UsageError("no recordings in this manifest", str(path), "one JSON object per line")
    return found


def _to_reference(row: ManifestRow, folder: Path, language_code: str | None) -> Reference:
    text_keys = TRANSLATION_KEYS if language_code else REFERENCE_KEYS
    audio, text = row.first_value(RECORDING_KEYS), row.first_value(text_keys)
    if not isinstance(audio, str) or not isinstance(text, str):
        what = f'needs "audio" and "{text_keys[0]}", both texts'
        raise UsageError(what, row.where, f"its columns are {row.column_names()}")
    if not is_utf8(text):
        raise UsageError("the reference is not UTF-8", row.where, "save the file as UTF-8")
    return Reference(folder / audio, text)


def _read_reference_file(recording: Path, stem: str, language_code: str | None) -> str:
    """Read the reference in the file next to a recording.

    Raises:
        UsageError: No such file.
    """
    path = recording.parent / (
        f"{stem}.{language_code}.ref.txt" if language_code else f"{stem}.ref.txt"
    )
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"no reference: {path.name} next to it can't be read ({type(error).__name__})",
            str(recording),
            f"write the correct text into {path.name}, or give a manifest",
        ) from error


def read_hypothesis(path: Path) -> Hypothesis:
    """Read the JSON of a transcript or translation.

    Raises:
        UsageError: Any other content.
    """
    try:
        entries: Any = json.loads(path.read_text(encoding="utf-8"))
        duration = entries.get("duration")
        return Hypothesis(
            path,
            source=str(entries["source"]),
            task=str(entries.get("task", "transcribe")),
            text=str(entries["text"]),
            duration=float(duration) if duration is not None else None,
            language=entries.get("language"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"not a transcript of phi4audio: {type(error).__name__}: {error}",
            str(path),
            "give the JSON files that transcribe or translate wrote",
        ) from error


class ReferenceFinder:
    """Finds the reference of a finished text.

    Args:
        location: A manifest, or the folder of the references or recordings; None for the folder of
            the JSON.
    """

    def __init__(self, location: Path | None) -> None:
        self._folder = location
        self._manifest = location if location is not None and _is_manifest(location) else None
        self._references_by_language: dict[str | None, dict[str, str]] = {}

    def find(self, hypothesis: Hypothesis) -> str:
        """Return the reference of a finished text.

        Raises:
            UsageError: No reference.
        """
        code = hypothesis.language if hypothesis.task == "translate" else None
        if self._manifest is None:
            folder = self._folder or hypothesis.path.parent
            return _read_reference_file(
                folder / hypothesis.path.name, Path(hypothesis.source).stem, code
            )
        if code not in self._references_by_language:
            rows = read_reference_manifest(self._manifest, language_code=code)
            self._references_by_language[code] = {row.source.name: row.text for row in rows}
        try:
            return self._references_by_language[code][hypothesis.source]
        except KeyError:
            raise UsageError(
                f"no reference: the manifest {self._manifest} has no {hypothesis.source}",
                str(hypothesis.path),
                "add a line for it, or leave this file out",
            ) from None


def find_hypotheses(inputs: Sequence[str]) -> Iterator[Hypothesis]:
    """Read finished texts from JSON files and folders of them.

    Raises:
        UsageError: A JSON file with any other content.
    """
    for each in inputs:
        path = Path(each)
        yield from map(read_hypothesis, sorted(path.glob("*.json")) if path.is_dir() else [path])
