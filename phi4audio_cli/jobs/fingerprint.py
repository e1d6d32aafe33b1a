"""What the answers about a recording depend on: its bytes, the model, the task, the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from phi4audio_cli import __version__
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task

HARMLESS = frozenset(
    {
        "adapter",  # its files count, not their folder
        "batch_size",
        "device",
        "formats",
        "highlight_words",
        "language",  # the task holds it, and so it does the prompts
        "max_cue_seconds",
        "max_line_width",
        "max_lines",
        "max_uncovered",
        "model",
        "offline",
        "output_dir",
        "output_template",
        "prompts",
        "readers",
    }
)
"""Settings that change no answer: where things are, how fast, what outputs look like."""

WHOLE = 32 << 20
"""Files of a model up to this size are read whole, bytes; of larger ones, samples are."""

SAMPLES, SAMPLE = 64, 1 << 16
"""How many samples of a large file, evenly spread, and their size in bytes."""

KINDS = (".json", ".safetensors", ".txt", ".model")
"""What belongs to a checkpoint: configuration, weights, tokenizer."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_fingerprint(*folders: Path | None) -> str:
    """Return what tells a model from others without reading gigabytes.

    Small files count whole; of weights the size, the header and evenly spread samples count, so
    that a model trained further is another one.

    Args:
        folders: Of the checkpoint, and of the adapter in use where there is one.

    Raises:
        OSError: A file can't be read.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(_files(folder)) if folder else ():
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder or path)}:{size}:".encode())
            with path.open("rb") as file:
                for piece in _pieces(file, size):
                    digest.update(piece)
        digest.update(b"/")
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "*/*"):  # an adapter may lie in a folder of the checkpoint
        for path in folder.glob(pattern):
            if path.suffix in KINDS and path.is_file():
                yield path


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    if size <= WHOLE:
        yield file.read()
        return
    for number in range(SAMPLES):
        file.seek(number * (size - SAMPLE) // (SAMPLES - 1))
        yield file.read(SAMPLE)


def identity(task: Task, settings: Settings, model: str) -> dict[str, Any]:
    """Return what answers depend on besides the recording, as JSON holds it.

    Args:
        task: Its class and all that it was made with count, prompts among it.
        settings: All but those that change nothing count.
        model: Fingerprint of the model.
    """
    made_with: Mapping[str, Any] = vars(task)
    return {
        "phi4audio": __version__,
        "model": model,
        "task": type(task).__name__,
        "made with": {name: repr(value) for name, value in sorted(made_with.items())},
        "settings": settings.model_dump(mode="json", exclude=set(HARMLESS)),
    }
