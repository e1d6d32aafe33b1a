"""What a job left, and what it is compared with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from phi4audio_cli.jobs.journal import read_pages
from phi4audio_cli.jobs.lock import HOME


def outputs(folder: Path) -> dict[str, str]:
    """Return the digests of all outputs; what is half-written counts, the report doesn't."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and HOME not in path.parts and path.name != "report.json"
    }


def answers(folder: Path) -> Iterator[str]:
    """Yield the key of each answer in the journals; one that was given twice comes twice."""
    for path in sorted((folder / HOME).glob("*.journal")):
        for line in read_pages(path).lines:
            entry = json.loads(line)
            if "answer" in entry:
                yield f"{path.name} {entry['answer']['key']}"


def finished(folder: Path) -> int:
    """Return how many recordings have a result in their journal."""
    return sum(read_pages(path).done is not None for path in (folder / HOME).glob("*.journal"))
