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

from phi4audio_cli.checkpoint.checkpoint import SpeechLoraMode, open_checkpoint
from phi4audio_cli.checkpoint.export_files import check_sidecars, write_sidecars
from phi4audio_cli.checkpoint.export_plan import (
    ExportPlan,
    adapter_tensors,
    plan_export,
    source_files,
)
from phi4audio_cli.checkpoint.layout import ADAPTER_FOLDER, EXPORT_KEY, detect_layout
from phi4audio_cli.checkpoint.safetensors_reader import read_blocks, read_json, read_tensor_index
from phi4audio_cli.checkpoint.safetensors_writer import write_shards
from phi4audio_cli.checkpoint.staging import (
    os_errors_as_output_errors,
    restore_backup,
    staged_folder,
    staging_path,
    sync_folder,
)
from phi4audio_cli.checkpoint.verify import verify_export
from phi4audio_cli.errors import CheckpointError, OutputError, UsageError

SIDECAR_RESERVE_BYTES = 64_000_000
"""Room left for tokenizer, card and the file system's own needs."""

StageProgress = Callable[[str, int, int], None]
"""Called with the stage, the bytes that are done and the bytes there are."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
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


def make_plan(request: ExportRequest) -> ExportPlan:
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
        dtype=_target_dtype(request),
    )
    check_sidecars(request.folder)
    dtype = checkpoint.output_dtype("model.embed_tokens.weight")
    config = {**checkpoint.config, "dtype": str(dtype).removeprefix("torch.")}
    checkpoint = replace(checkpoint, config=config)
    return plan_export(checkpoint, request.mode, request.source, request.max_shard_bytes)


def check_target(plan: ExportPlan, target: Path, *, overwrite: bool) -> None:
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
    existing = _nearest_existing(target.absolute().parent)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("can't be written to", str(existing), "choose another place")
    _check_target_free(target, overwrite=overwrite)
    needed, free = plan.weight_bytes + SIDECAR_RESERVE_BYTES, shutil.disk_usage(existing).free
    # What a killed run left is taken away before anything is written.
    free += _folder_bytes(staging_path(target))
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
    verify_files: bool = True,
    progress: StageProgress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Writes an export beside its place, verifies it, and puts it there.

    Args:
        plan: What to write.
        target: The export's folder.
        overwrite: Replace an old export, once the new one is verified.
        check: A further check of the verified folder, whose findings are reported.
        verify_files: Whether the files are read again and compared.
        progress: Hears how far it is.

    Returns:
        The plan's table, with what the verification found, the seconds of each stage, and the
        most memory that was held before `verify_probe`.

    Raises:
        OutputError: The place can't be written to.
        CheckpointError: The source changed meanwhile, or the export isn't what it must be.
    """
    target = _resolve_target(target)
    with os_errors_as_output_errors(target):
        restore_backup(target)
    check_target(plan, target, overwrite=overwrite)
    table = plan.as_dict()
    seconds: dict[str, float] = {}
    with _errors_name_target(target), staged_folder(target, replace=overwrite) as folder:
        with _timed(seconds, "writing"):
            write_export(plan, folder, _byte_counter("writing", plan.tensor_bytes, progress))
        if verify_files:
            count = _byte_counter("verifying", plan.tensor_bytes, progress)
            with _timed(seconds, "verifying"):
                table["verified"] = verify_export(plan, folder, count)
        table["peak_memory"] = _peak_memory()
        if verify_files and check is not None:
            with _timed(seconds, "answers"):
                table["verified"] |= check(folder)
    return {**table, "seconds": seconds, "folder": str(target)}


def write_export(plan: ExportPlan, folder: Path, advance: Callable[[int], None]) -> None:
    """Writes all files of an export, one piece of a tensor in memory at a time.

    Raises:
        OSError: The disk is full or fails.
    """
    write_shards(folder, plan.shards, plan.checkpoint.blocks, advance)
    if plan.adapter is not None:
        halves = adapter_tensors(plan.checkpoint)
        (folder / ADAPTER_FOLDER).mkdir()
        write_shards(
            folder / ADAPTER_FOLDER,
            (plan.adapter,),
            lambda name: read_blocks(halves[name]),
            advance,
        )
    write_sidecars(plan, folder)
    if plan.adapter is not None:
        sync_folder(folder / ADAPTER_FOLDER)


def _refuse_stripped(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        return
    if detect_layout(read_json(config), read_tensor_index(folder), str(folder)) == "stripped":
        raise UsageError(
            "is stripped already: there is no vision in it", str(folder), "use it as it is"
        )


def _target_dtype(request: ExportRequest) -> Any:
    import torch

    if request.dtype is None:
        return torch.bfloat16 if request.mode == "merge" else None
    return getattr(torch, request.dtype)


def _check_target_free(target: Path, *, overwrite: bool) -> None:
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
        return EXPORT_KEY in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _nearest_existing(path: Path) -> Path:
    """The path itself or the nearest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _resolve_target(target: Path) -> Path:
    """The folder to write, without links and dots.

    Raises:
        UsageError: It has no name of its own.
    """
    target = target.expanduser().resolve()
    if not target.name:
        raise UsageError("is the root of a disk", str(target), "choose a folder")
    return target


@contextmanager
def _errors_name_target(target: Path) -> Iterator[None]:
    """Names the export in errors by its place: the folder it is written in is gone by then."""
    try:
        yield
    except CheckpointError as error:
        if error.where is None or str(staging_path(target)) not in error.where:
            raise
        where = error.where.replace(str(staging_path(target)), str(target))
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


def _byte_counter(stage: str, total: int, progress: StageProgress) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    progress(stage, 0, total)
    return advance
