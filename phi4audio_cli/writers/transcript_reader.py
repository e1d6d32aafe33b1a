"""Reads transcripts from the JSON files that an earlier run wrote."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Metadata, Transcript
from phi4audio_cli.writers.transcript_json import parse_transcript


def read_transcript(path: Path) -> tuple[Transcript, Metadata]:
    """Read a transcript's JSON file.

    Raises:
        UsageError: It can't be read, is no transcript, or of a newer version.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"it can't be read: {error}", str(path), "check the name") from error
    return parse_transcript(content, str(path))
