"""Runs of the command on three small recordings, and their outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.types import Request

Answer = Callable[[Request], str]


def say_length(request: Request) -> str:
    assert request.chunk is not None
    return f"{len(request.chunk.samples)} samples"


def interrupt_fourth_request() -> Answer:
    """Return a function that answers three requests and raises KeyboardInterrupt at the next."""
    count = 0

    def say(request: Request) -> str:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return say_length(request)

    return say


def phi4audio(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def transcribe(*arguments: str | Path) -> int:
    return phi4audio("transcribe", "a.wav", "b.wav", "c.wav", "--chunk-seconds", "1", *arguments)


def outputs(folder: Path | str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith("report")
    }


def statuses(path: str = "out/report.json") -> list[str]:
    return [each["status"] for each in json.loads(Path(path).read_text("utf-8"))["files"]]
