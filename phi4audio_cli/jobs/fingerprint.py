"""Fingerprints of everything answers depend on: recording, model, task and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from phi4audio_cli import __version__
from phi4audio_cli.errors import Phi4AudioError
from phi4audio_cli.jobs.download import FetchRecording, remote_stat
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

IRRELEVANT_SETTINGS = frozenset(
    {
        "adapter",  # its files count, not its folder
        "batch_size",
        "device",
        "formats",
        "highlight_words",
        "language",  # a part of the task, like the prompts
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
"""Settings that change no answer: locations, speed, and the style of outputs."""

MAX_WHOLE_FILE_BYTES = 32 << 20
"""Files of a model up to this size (bytes) are read completely, larger ones in samples."""

SAMPLE_COUNT, SAMPLE_BYTES = 64, 1 << 16
"""Number of evenly spaced samples of a large file, and their size in bytes."""

CHECKPOINT_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
"""Extensions of the files of a checkpoint: configuration, weights, tokenizer."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file's content.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_fingerprint(*folders: Path | None) -> str:
    """Return a fingerprint of a model without reading gigabytes.

    Small files count completely; weights count by their size, header and evenly spaced samples, so
    that further training changes the fingerprint.

    Args:
        folders: Folders of the checkpoint and, if in use, of the adapter.

    Raises:
        OSError: A file can't be read.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(_checkpoint_files(folder)) if folder else ():
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder or path)}:{size}:".encode())
            with path.open("rb") as file:
                for piece in _read_sampled(file, size):
                    digest.update(piece)
        digest.update(b"/")
    return digest.hexdigest()


def _checkpoint_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "*/*"):  # an adapter may be in a subfolder
        for path in folder.glob(pattern):
            if path.suffix in CHECKPOINT_SUFFIXES and path.is_file():
                yield path


def _read_sampled(file: BinaryIO, size: int) -> Iterator[bytes]:
    if size <= MAX_WHOLE_FILE_BYTES:
        yield file.read()
        return
    for number in range(SAMPLE_COUNT):
        file.seek(number * (size - SAMPLE_BYTES) // (SAMPLE_COUNT - 1))
        yield file.read(SAMPLE_BYTES)


def answer_identity(task: Task, settings: Settings, model: str) -> dict[str, Any]:
    """Return everything answers depend on except the recording, as JSON data.

    Args:
        task: Its class and all of its attributes count, including prompts.
        settings: All but `IRRELEVANT_SETTINGS` count.
        model: Fingerprint of the model.
    """
    attributes: Mapping[str, Any] = vars(task)
    return {
        "phi4audio": __version__,
        "model": model,
        "task": type(task).__name__,
        "made with": {name: repr(value) for name, value in sorted(attributes.items())},
        "settings": settings.model_dump(mode="json", exclude=set(IRRELEVANT_SETTINGS)),
    }


SourceStat: TypeAlias = tuple[int, int]
"""Size in bytes and modification time (whole seconds) of a downloaded recording."""


def source_stat(job: Job, copy: Path) -> SourceStat | None:
    """Return the size and time by which a later run sees, without a download, that it is unchanged.

    Args:
        job: The recording.
        copy: Its downloaded copy, with the modification time of the original.

    Returns:
        None for a local recording.
    """
    if job.url is None:
        return None
    found = copy.stat()
    return found.st_size, int(found.st_mtime)


def is_unchanged(
    job: Job, fetch: FetchRecording, header: Mapping[str, Any], done: Mapping[str, Any]
) -> bool:
    """Return whether a recording is unchanged since it was finished.

    Args:
        job: The recording.
        fetch: Opens its file, if its bytes must be compared.
        header: Header of its journal.
        done: Last entry of its journal.
    """
    original = done.get("original")
    if job.url and original and remote_stat(job.url) == tuple(original):
        return True
    try:
        # A changed remote recording is downloaded again when its turn comes: all recordings are
        # checked before the first is transcribed, and keeping the copies would fill the disk.
        with fetch(job) as source:
            return bool(file_digest(source) == header["input"])
    except (OSError, Phi4AudioError):
        return False  # the run fails on it again, and reports the error
