"""Export a checkpoint without vision: plan, write, verify, and move to the target."""

from __future__ import annotations

import json
import os
import shutil
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
from phi4audio_cli.formatting import format_bytes
from phi4audio_cli.process_memory import peak_memory
from phi4audio_cli.storage import nearest_existing

SIDECAR_RESERVE_BYTES = 64_000_000
"""Free space for tokenizer, card and the file system itself."""

StageProgress = Callable[[str, int, int], None]
"""Called with the stage, the finished bytes and all bytes."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The options of an export."""

    folder: Path
    """The source."""
    source: str
    """Name of the source for the model card."""
    mode: SpeechLoraMode = "merge"
    dtype: str | None = None
    """Of the weights; None: bfloat16 in the mode `merge`, else as stored."""
    adapter: Path | None = None
    max_shard_bytes: int = 5_000_000_000


def make_plan(request: ExportRequest) -> ExportPlan:
    """Read the source's headers and plan the export.

    Raises:
        UsageError: The source has no vision.
        CheckpointError: The source is incomplete or damaged.
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
    """Check the target before the export starts.

    Args:
        plan: Of the export.
        target: The folder of the export.
        overwrite: Whether an old export may be replaced.

    Raises:
        OutputError: The target is not empty, its disk too small, or it can't be written to.
        UsageError: The target contains the source.
    """
    if any(
        file.resolve().is_relative_to(target.resolve()) for file in source_files(plan.checkpoint)
    ):
        raise UsageError("the output folder contains the source", str(target), "choose another one")
    existing = nearest_existing(target.parent)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("can't be written to", str(existing), "choose another place")
    _check_target_free(target, overwrite=overwrite)
    needed, free = plan.weight_bytes + SIDECAR_RESERVE_BYTES, shutil.disk_usage(existing).free
    # The files of a killed run are removed first.
    free += _folder_bytes(staging_path(target))
    if free < needed:
        raise OutputError(
            f"the export needs {format_bytes(needed)}, {format_bytes(free)} are free",
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
    """Write an export into a staging folder, verify it, and move it to the target.

    Args:
        plan: Of the export.
        target: The folder of the export.
        overwrite: Replace an old export after the new one is verified.
        check: A further check of the verified folder; its results are reported.
        verify_files: Whether the files are read again and compared.
        progress: Called with the stage and the finished bytes.

    Returns:
        The plan's table, with the results of the verification, the seconds of each stage, and the
        peak memory before `check`.

    Raises:
        OutputError: The target can't be written to.
        CheckpointError: The source changed during the export, or the export differs from it.
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
        table["peak_memory"] = peak_memory()
        if verify_files and check is not None:
            with _timed(seconds, "answers"):
                table["verified"] |= check(folder)
    return {**table, "seconds": seconds, "folder": str(target)}


def write_export(plan: ExportPlan, folder: Path, advance: Callable[[int], None]) -> None:
    """Write all files of an export, with a few blocks of a tensor in memory.

    Raises:
        OSError: The disk is full or fails.
    """
    write_shards(folder, plan.shards, plan.checkpoint.blocks, advance)
    if plan.adapter is not None:
        factors = adapter_tensors(plan.checkpoint)
        (folder / ADAPTER_FOLDER).mkdir()
        write_shards(
            folder / ADAPTER_FOLDER,
            (plan.adapter,),
            lambda name: read_blocks(factors[name]),
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
        raise UsageError("has no vision parts to strip", str(folder), "use it as it is")


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
            "has files that are not an export, and those are never overwritten",
            str(target),
            "choose another folder, or remove this one yourself",
        )


def _is_export(folder: Path) -> bool:
    try:
        return EXPORT_KEY in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _resolve_target(target: Path) -> Path:
    """Return the target as an absolute path without links.

    Raises:
        UsageError: It is the root of a disk.
    """
    target = target.expanduser().resolve()
    if not target.name:
        raise UsageError("is the root of a disk", str(target), "choose a folder")
    return target


@contextmanager
def _errors_name_target(target: Path) -> Iterator[None]:
    """Name the target in errors about the staging folder, which is removed."""
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


def _byte_counter(stage: str, total: int, progress: StageProgress) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    progress(stage, 0, total)
    return advance
