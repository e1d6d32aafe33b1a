"""Whether an export holds what it should: its files are read again and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from phi4audio_cli.background import prefetch
from phi4audio_cli.checkpoint.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.export_plan import ExportPlan, adapter_tensors
from phi4audio_cli.checkpoint.layout import ADAPTER_FOLDER, ADAPTER_WEIGHTS, is_vision_tensor
from phi4audio_cli.checkpoint.safetensors_reader import (
    BLOCK_BYTES,
    TensorInfo,
    read_blocks,
    read_header,
    read_tensor,
    read_tensor_index,
)
from phi4audio_cli.checkpoint.safetensors_writer import PREFETCH_BLOCKS, ByteProgress
from phi4audio_cli.errors import CheckpointError


def verify_export(plan: ExportPlan, folder: Path, advance: ByteProgress) -> dict[str, Any]:
    """Compares every tensor of an export with its source, merged ones computed again.

    Args:
        plan: What was to be written.
        folder: What was written.
        advance: Hears of compared bytes.

    Returns:
        What was found, as plain data.

    Raises:
        CheckpointError: The export isn't what it must be; names the first difference.
    """
    infos = read_tensor_index(folder)
    if vision := [name for name in infos if is_vision_tensor(name)]:
        raise CheckpointError("is vision and should be gone", f"{vision[0]} in {folder}")
    changed = _compare_tensors(plan, infos, advance)
    if plan.checkpoint.merged_modules and not changed:
        raise CheckpointError("the merge of the speech LoRA changed no weight", str(folder))
    _compare_adapter(plan, folder, advance)
    parameters = _reopened_parameters(plan, folder)
    return {
        "tensors": len(infos),
        "merged_and_changed": changed,
        "parameters": parameters,
    }


def _reopened_parameters(plan: ExportPlan, folder: Path) -> int:
    """Opens the export as a load would: names, shapes and their number are checked there."""
    reopened = open_checkpoint(folder, speech_lora="drop" if plan.mode == "drop" else "merge")
    if reopened.layout != "stripped":
        raise CheckpointError(f"has the layout {reopened.layout}, not stripped", str(folder))
    if (plan.adapter is None) != (reopened.adapter is None):
        raise CheckpointError("its speech LoRA isn't where it should be", str(folder))
    if reopened.audio_parameters != plan.checkpoint.audio_parameters:
        raise CheckpointError(f"has {reopened.audio_parameters} parameters", str(folder))
    return reopened.audio_parameters


def _compare_tensors(
    plan: ExportPlan, infos: Mapping[str, TensorInfo], advance: ByteProgress
) -> int:
    """Compares all tensors; returns how many of them the merge changed."""
    changed = 0
    # The next one is read and merged in a thread meanwhile.
    stream = prefetch(_expected_blocks(plan), PREFETCH_BLOCKS)
    with closing(stream):
        for name, part in groupby(stream, key=lambda source: source.name):
            changed += _compare_tensor(plan, infos[name], part, advance)
    return changed


@dataclass(frozen=True, slots=True)
class _ExpectedBlock:
    """A tensor that should have been written, or a part of it, flat."""

    name: str
    expected: torch.Tensor
    base: torch.Tensor | None = None
    """What it was before the merge; None: nothing was merged into it."""


def _expected_blocks(plan: ExportPlan) -> Iterator[_ExpectedBlock]:
    checkpoint = plan.checkpoint
    merged = {f"{module}.weight" for module in checkpoint.merged_modules}
    for name in checkpoint.expected_shapes:
        if name in merged:
            base = read_tensor(checkpoint.stored_tensors[name])
            yield _ExpectedBlock(name, checkpoint.convert(name, base).reshape(-1), base.reshape(-1))
        else:
            for piece in checkpoint.blocks(name):
                yield _ExpectedBlock(name, piece)


def _compare_tensor(
    plan: ExportPlan, written: TensorInfo, sources: Iterable[_ExpectedBlock], advance: ByteProgress
) -> bool:
    """Compares a tensor with its source; whether a merge changed it after rounding."""
    count, changed = 0, False
    window = _BlockReader(written)
    for source in sources:
        found = window.read(source.expected.numel())
        if not _same_bits(source.expected, found):
            what = "its source" if source.base is None else "a second merge"
            raise CheckpointError(f"differs from {what}", written.description, "export it again")
        if source.base is not None:
            changed = not _same_bits(source.base.to(found.dtype), found)
        count += found.numel()
        advance(found.nbytes)
    if count != written.numel or written.dtype != plan.checkpoint.output_dtype(written.name):
        raise CheckpointError("has another size than its source", written.description)
    return changed


def _compare_adapter(plan: ExportPlan, folder: Path, advance: ByteProgress) -> None:
    if plan.adapter is None:
        return
    written = read_header(folder / ADAPTER_FOLDER / ADAPTER_WEIGHTS)
    for name, info in adapter_tensors(plan.checkpoint).items():
        if not _same_bits(read_tensor(info), read_tensor(written[name])):
            raise CheckpointError("differs from its source", written[name].description)
        advance(info.nbytes)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compares bytes: a NaN equals itself, and -0 differs from 0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    # As wide as length and offsets allow: four times as fast as byte by byte.
    flat = one.reshape(-1), other.reshape(-1)
    marks = [part.nbytes | int(part.storage_offset()) * part.itemsize for part in flat]
    word = torch.uint8 if any(mark % torch.int64.itemsize for mark in marks) else torch.int64
    return torch.equal(flat[0].view(word), flat[1].view(word))


class _BlockReader:
    """Reads a tensor from its file in parts of any length."""

    def __init__(self, info: TensorInfo) -> None:
        self._blocks: Iterator[torch.Tensor] = read_blocks(info, BLOCK_BYTES)
        self._remainder = torch.empty(0, dtype=info.dtype)

    def read(self, count: int) -> torch.Tensor:
        """The next `count_event` elements; fewer where the tensor ends."""
        parts = [self._remainder]
        have = self._remainder.numel()
        while have < count and (piece := next(self._blocks, None)) is not None:
            parts.append(piece)
            have += piece.numel()
        parts = [part for part in parts if part.numel()] or parts[:1]
        flat = torch.cat(parts) if len(parts) > 1 else parts[0]
        self._remainder = flat[count:]
        return flat[:count]
