"""The outputs and journals of a job, for comparison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from phi4audio_cli.jobs.journal_entries import read_journal
from phi4audio_cli.storage import STATE_DIR


def output_digests(folder: Path) -> dict[str, str]:
    """Return the digests of all outputs, partly written ones too, without the report."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and STATE_DIR not in path.parts and path.name != "report.json"
    }


def answer_keys(folder: Path) -> Iterator[str]:
    """Yield the key of each answer in the journals, as often as it was computed."""
    for path in sorted((folder / STATE_DIR).glob("*.journal")):
        for line in read_journal(path).contents:
            entry = json.loads(line)
            if "answer" in entry:
                yield f"{path.name} {entry['answer']['key']}"


def count_finished(folder: Path) -> int:
    """Return the number of recordings with a result in their journal."""
    return sum(
        read_journal(path).done is not None for path in (folder / STATE_DIR).glob("*.journal")
    )
