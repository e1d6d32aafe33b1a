"""Fingerprints of what answers depend on: the recording, the model, the task and the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from phi4audio_cli import __version__
from phi4audio_cli.errors import Phi4AudioError
from phi4audio_cli.jobs.download import remote_stat
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Job

IRRELEVANT_SETTINGS = frozenset(
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

MAX_WHOLE_FILE_BYTES = 32 << 20
"""Files of a model up to this size are read whole, bytes; of larger ones, samples are."""

SAMPLE_COUNT, SAMPLE_BYTES = 64, 1 << 16
"""How many samples of a large file, evenly spread, and their size in bytes."""

CHECKPOINT_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
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
        for path in sorted(_checkpoint_files(folder)) if folder else ():
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder or path)}:{size}:".encode())
            with path.open("rb") as file:
                for piece in _read_sampled(file, size):
                    digest.update(piece)
        digest.update(b"/")
    return digest.hexdigest()


def _checkpoint_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "*/*"):  # an adapter may lie in a folder of the checkpoint
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
        "settings": settings.model_dump(mode="json", exclude=set(IRRELEVANT_SETTINGS)),
    }


FetchRecording: TypeAlias = Callable[[Job], AbstractContextManager[Path]]
"""Gives the file of a recording for as long as it is needed."""

SourceStat: TypeAlias = tuple[int, int]
"""Size and time of change of a recording that was fetched."""


def source_stat(job: Job, copy: Path) -> SourceStat | None:
    """Return what tells later, without fetching it again, that a recording has not changed.

    Args:
        job: The recording.
        copy: What was fetched, with the time of change of its original.

    Returns:
        None for a recording that lies here.
    """
    if job.url is None:
        return None
    found = copy.stat()
    return found.st_size, int(found.st_mtime)


def is_unchanged(
    job: Job, fetch: FetchRecording, header: Mapping[str, Any], done: Mapping[str, Any]
) -> bool:
    """Return whether a recording has not changed since it was done.

    Args:
        job: The recording.
        fetch: Gives its file, where its bytes must be compared.
        header: Of its journal.
        done: The journal's last entry.
    """
    original = done.get("original")
    if job.url and original and remote_stat(job.url) == tuple(original):
        return True
    try:
        # What has changed elsewhere is fetched again when its turn comes: to keep it until then
        # would fill the disk, for all recordings are looked through before the first is done.
        with fetch(job) as source:
            return bool(file_digest(source) == header["input"])
    except (OSError, Phi4AudioError):
        return False  # it will fail again where failures are told
