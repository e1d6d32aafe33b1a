"""Recordings and finished texts with what they should say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.input_source import InputSource, display_url

RECORDING_KEYS = ("audio", "audio_filepath", "path")
"""What manifests call the recording: ours, NeMo's, and the plain word."""

MANIFEST_SUFFIXES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording and what is said in it, or its translation."""

    source: Path
    text: str


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that phi4audio wrote, from its JSON."""

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
            of talk.wav stands in the list or lies beside it as talk.ref.txt, that of its French
            translation as talk.fr.ref.txt.
        language_code: Of the language of translations; None for transcripts.
        recursive: Look into the folders of folders too.

    Raises:
        UsageError: An input that isn't there, a line that can't be used, or no reference.
    """
    found: list[Reference] = []
    for each in inputs:
        path = Path(each)
        if path.suffix.lower() in MANIFEST_SUFFIXES:
            found += read_reference_manifest(path, language_code=language_code)
            continue
        recordings, problems = find_inputs([each], recursive=recursive)
        if problems:
            raise problems[0]
        for recording in recordings:
            found.append(_find_reference(recording, language_code))
    return found


def _find_reference(recording: InputSource, language_code: str | None) -> Reference:
    """Take the reference that a list gives, else the one that lies beside the recording.

    Raises:
        UsageError: There is none, or the recording isn't on this machine.
    """
    if recording.url:
        remedy = "download it first, and put its reference beside it"
        raise UsageError("only files can be scored", display_url(recording.url), remedy)
    source = recording.path
    if language_code is None and recording.reference is not None:
        return Reference(source, recording.reference)
    return Reference(source, _read_reference_file(source, source.stem, language_code))


def read_reference_manifest(path: Path, *, language_code: str | None = None) -> list[Reference]:
    """Read a manifest: one JSON object a line, with `audio_seconds` and `bundled_reference` (or NeMo's names).

    Raises:
        UsageError: It can't be read, or a line can't be used.
    """
    try:
        # Not splitlines: a text in JSON may hold U+2028 and others that it takes for line ends.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't be read: {error}", str(path), "give JSON lines, UTF-8") from error
    found = [
        _parse_row(line, path, number, language_code)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise UsageError("no recordings in this manifest", str(path), "one JSON object a line")
    return found


def _parse_row(line: str, path: Path, number: int, language_code: str | None) -> Reference:
    where = f"{path}, line {number}"
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"no JSON: {error}", where, "write one JSON object a line") from error
    wanted = ("translation", "reference") if language_code else ("reference", "text")
    if not isinstance(row, dict):
        raise UsageError("no JSON object", where, 'write {"audio": ..., "reference": ...}')
    audio, text = _first_value(row, RECORDING_KEYS), _first_value(row, wanted)
    if not isinstance(audio, str) or not isinstance(text, str):
        keys = f'"audio" and "{wanted[0]}"'
        raise UsageError(f"lacks {keys}, both texts", where, f"it has {', '.join(row) or 'none'}")
    return Reference(path.parent / audio, text)


def _first_value(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if key in row), None)


def _read_reference_file(recording: Path, stem: str, language_code: str | None) -> str:
    """Read the reference that lies beside a file.

    Raises:
        UsageError: There is none.
    """
    path = recording.parent / (
        f"{stem}.{language_code}.ref.txt" if language_code else f"{stem}.ref.txt"
    )
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"no reference: {path.name} can't be read beside it ({type(error).__name__})",
            str(recording),
            f"write what it should say into {path.name}, or give a manifest",
        ) from error


def read_hypothesis(path: Path) -> Hypothesis:
    """Read a transcript's or translation's JSON.

    Raises:
        UsageError: It is none.
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
            f"no transcript of phi4audio: {type(error).__name__}: {error}",
            str(path),
            "give the JSON files that transcribe or translate wrote",
        ) from error


class ReferenceFinder:
    """Finds the reference of a finished text.

    Args:
        location: A manifest, or the folder of the references or recordings; None: beside the JSON.
    """

    def __init__(self, location: Path | None) -> None:
        self._location = location
        is_manifest = location is not None and location.suffix.lower() in MANIFEST_SUFFIXES
        self._manifest = location if is_manifest else None
        self._references_by_language: dict[str | None, dict[str, str]] = {}

    def find(self, hypothesis: Hypothesis) -> str:
        """Return what a finished text should say.

        Raises:
            UsageError: There is no reference for it.
        """
        code = hypothesis.language if hypothesis.task == "translate" else None
        if self._manifest is None:
            folder = self._location or hypothesis.path.parent
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
    """Read finished texts from JSON files and folders of them; what isn't one is an error."""
    for each in inputs:
        path = Path(each)
        yield from map(read_hypothesis, sorted(path.glob("*.json")) if path.is_dir() else [path])
