"""The stripped checkpoint: planned, written, verified and put in its place."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.config import MARK
from phi4audio_cli.checkpoint.layout import detect
from phi4audio_cli.checkpoint.names import ADAPTER_FOLDER
from phi4audio_cli.checkpoint.plan import ExportPlan, adapter_halves, plan_export, source_files
from phi4audio_cli.checkpoint.shards import read_json, read_pieces, weight_infos
from phi4audio_cli.checkpoint.sidecars import check_sidecars, write_sidecars
from phi4audio_cli.checkpoint.staging import explained, recover, staged, staging_of, sync_folder
from phi4audio_cli.checkpoint.stream import SpeechLoraMode, open_checkpoint
from phi4audio_cli.checkpoint.verify import verify
from phi4audio_cli.checkpoint.writer import write_shards
from phi4audio_cli.errors import CheckpointError, OutputError, UsageError

SIDECAR_BYTES = 64_000_000
"""Room left for tokenizer, card and the file system's own needs."""

Progress = Callable[[str, int, int], None]
"""Called with the stage, the bytes that are done and the bytes there are."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants exported."""

    folder: Path
    """Of the source."""
    source: str
    """The source as the user named it; goes into the card."""
    mode: SpeechLoraMode = "merge"
    dtype: str | None = None
    """Of the weights; None: bfloat16, or as stored where the base weights stay as they are."""
    adapter: Path | None = None
    max_shard_bytes: int = 5_000_000_000


def make_plan(request: Request) -> ExportPlan:
    """Reads the source's headers and plans the export.

    Raises:
        UsageError: The source is stripped already.
        CheckpointError: The source isn't complete and known.
    """
    _refuse_stripped(request.folder)
    checkpoint = open_checkpoint(
        request.folder,
        adapter=request.adapter,
        speech_lora=request.mode,
        dtype=_dtype(request),
    )
    check_sidecars(request.folder)
    dtype = checkpoint.result_dtype("model.embed_tokens.weight")
    config = {**checkpoint.config, "dtype": str(dtype).removeprefix("torch.")}
    checkpoint = replace(checkpoint, config=config)
    return plan_export(checkpoint, request.mode, request.source, request.max_shard_bytes)


def preflight(plan: ExportPlan, target: Path, *, overwrite: bool) -> None:
    """Checks everything about the place that can be known before a byte is written.

    Args:
        plan: Of the export.
        target: The export's folder.
        overwrite: Whether an old export may be replaced.

    Raises:
        OutputError: The place is taken, too small, or can't be written to.
        UsageError: It is the source itself.
    """
    if any(
        file.resolve().is_relative_to(target.resolve()) for file in source_files(plan.checkpoint)
    ):
        raise UsageError("the source lies in the output folder", str(target), "choose another one")
    existing = _nearest(target.absolute().parent)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("can't be written to", str(existing), "choose another place")
    _check_taken(target, overwrite=overwrite)
    needed, free = plan.weight_bytes + SIDECAR_BYTES, shutil.disk_usage(existing).free
    # What a killed run left is taken away before anything is written.
    free += _size(staging_of(target))
    if free < needed:
        raise OutputError(
            f"the export needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free",
            str(target),
            "make room, or choose another disk",
        )


def run_export(
    plan: ExportPlan,
    target: Path,
    *,
    overwrite: bool = False,
    check: Callable[[Path], dict[str, Any]] | None = None,
    verified: bool = True,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Writes an export beside its place, verifies it, and puts it there.

    Args:
        plan: What to write.
        target: The export's folder.
        overwrite: Replace an old export, once the new one is verified.
        check: A further check of the verified folder, whose findings are reported.
        verified: Whether the files are read again and compared.
        progress: Hears how far it is.

    Returns:
        The plan's table, with what the verification found, the seconds of each stage, and the
        most memory that was held before `check`.

    Raises:
        OutputError: The place can't be written to.
        CheckpointError: The source changed meanwhile, or the export isn't what it must be.
    """
    target = _place(target)
    with explained(target):
        recover(target)
    preflight(plan, target, overwrite=overwrite)
    table = plan.table()
    seconds: dict[str, float] = {}
    with _in_its_place(target), staged(target, replace=overwrite) as folder:
        with _timed(seconds, "writing"):
            write(plan, folder, _counter("writing", plan.tensor_bytes, progress))
        if verified:
            count = _counter("verifying", plan.tensor_bytes, progress)
            with _timed(seconds, "verifying"):
                table["verified"] = verify(plan, folder, count)
        table["peak_memory"] = _peak_memory()
        if verified and check is not None:
            with _timed(seconds, "answers"):
                table["verified"] |= check(folder)
    return {**table, "seconds": seconds, "folder": str(target)}


def write(plan: ExportPlan, folder: Path, advance: Callable[[int], None]) -> None:
    """Writes all files of an export, one piece of a tensor in memory at a time.

    Raises:
        OSError: The disk is full or fails.
    """
    write_shards(folder, plan.shards, plan.checkpoint.pieces, advance)
    if plan.adapter is not None:
        halves = adapter_halves(plan.checkpoint)
        (folder / ADAPTER_FOLDER).mkdir()
        write_shards(
            folder / ADAPTER_FOLDER,
            (plan.adapter,),
            lambda name: read_pieces(halves[name]),
            advance,
        )
    write_sidecars(plan, folder)
    if plan.adapter is not None:
        sync_folder(folder / ADAPTER_FOLDER)


def _refuse_stripped(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        return
    if detect(read_json(config), weight_infos(folder), str(folder)) == "stripped":
        raise UsageError(
            "is stripped already: there is no vision in it", str(folder), "use it as it is"
        )


def _dtype(request: Request) -> Any:
    import torch

    if request.dtype is None:
        return torch.bfloat16 if request.mode == "merge" else None
    return getattr(torch, request.dtype)


def _check_taken(target: Path, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise OutputError("is a file, not a folder", str(target), "choose another folder")
    if not overwrite:
        raise OutputError(
            "isn't empty", str(target), "choose another folder, or --overwrite an old export"
        )
    if not _is_export(target):
        raise OutputError(
            "holds something else than an export, and that is not overwritten",
            str(target),
            "choose another folder, or remove it yourself",
        )


def _is_export(folder: Path) -> bool:
    try:
        return MARK in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _nearest(path: Path) -> Path:
    """The path itself or the nearest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _place(target: Path) -> Path:
    """The folder to write, without links and dots.

    Raises:
        UsageError: It has no name of its own.
    """
    target = target.expanduser().resolve()
    if not target.name:
        raise UsageError("is the root of a disk", str(target), "choose a folder")
    return target


@contextmanager
def _in_its_place(target: Path) -> Iterator[None]:
    """Names the export in errors by its place: the folder it is written in is gone by then."""
    try:
        yield
    except CheckpointError as error:
        if error.where is None or str(staging_of(target)) not in error.where:
            raise
        where = error.where.replace(str(staging_of(target)), str(target))
        raise CheckpointError(error.what, where, error.remedy) from error


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - began, 1)


def _peak_memory() -> int | None:
    """Most bytes this process has held, file pages included; None where the system can't say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _counter(stage: str, total: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    progress(stage, 0, total)
    return advance
