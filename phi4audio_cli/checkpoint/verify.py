"""Verify an export: read its files again and compare every tensor with the source."""

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
    """Compare every tensor of an export with its source; merged tensors are computed again.

    Args:
        plan: Of the export.
        folder: The written export.
        advance: Called with the number of compared bytes.

    Returns:
        Number of tensors, of merged tensors that changed, and of parameters.

    Raises:
        CheckpointError: The export differs from its source; names the first difference.
    """
    infos = read_tensor_index(folder)
    if vision := [name for name in infos if is_vision_tensor(name)]:
        raise CheckpointError("is a vision tensor in an export", f"{vision[0]} in {folder}")
    changed = _compare_tensors(plan, infos, advance)
    if plan.checkpoint.merged_modules and not changed:
        raise CheckpointError("the merge of the speech LoRA changed no weight", str(folder))
    _compare_adapter(plan, folder, advance)
    return {
        "tensors": len(infos),
        "merged_and_changed": changed,
        "parameters": _reopened_parameters(plan, folder),
    }


def _reopened_parameters(plan: ExportPlan, folder: Path) -> int:
    """Open the export as a load does, which checks names and shapes, and count its parameters."""
    reopened = open_checkpoint(folder, speech_lora="drop" if plan.mode == "drop" else "merge")
    if reopened.layout != "stripped":
        raise CheckpointError(f"has the layout {reopened.layout}, not stripped", str(folder))
    if (plan.adapter is None) != (reopened.adapter is None):
        raise CheckpointError("its speech LoRA is not where its config says", str(folder))
    if reopened.audio_parameters != plan.checkpoint.audio_parameters:
        raise CheckpointError(f"has {reopened.audio_parameters} parameters", str(folder))
    return reopened.audio_parameters


def _compare_tensors(
    plan: ExportPlan, infos: Mapping[str, TensorInfo], advance: ByteProgress
) -> int:
    """Compare all tensors; return the number of those that the merge changed."""
    changed = 0
    # A thread reads and merges the next tensor during the comparison.
    stream = prefetch(_expected_blocks(plan), PREFETCH_BLOCKS)
    with closing(stream):
        for name, part in groupby(stream, key=lambda source: source.name):
            changed += _compare_tensor(plan, infos[name], part, advance)
    return changed


@dataclass(frozen=True, slots=True)
class _ExpectedBlock:
    """A tensor as it must be in the export, or a flat part of it."""

    name: str
    expected: torch.Tensor
    base: torch.Tensor | None = None
    """The tensor before the merge; None: it has no LoRA."""


def _expected_blocks(plan: ExportPlan) -> Iterator[_ExpectedBlock]:
    checkpoint = plan.checkpoint
    merged = {f"{module}.weight" for module in checkpoint.merged_modules}
    for name in checkpoint.expected_shapes:
        if name in merged:
            base = read_tensor(checkpoint.stored_tensors[name])
            yield _ExpectedBlock(name, checkpoint.convert(name, base).reshape(-1), base.reshape(-1))
        else:
            for block in checkpoint.blocks(name):
                yield _ExpectedBlock(name, block)


def _compare_tensor(
    plan: ExportPlan, written: TensorInfo, sources: Iterable[_ExpectedBlock], advance: ByteProgress
) -> bool:
    """Compare a tensor with its source; return whether a merge changed it after rounding."""
    count, changed = 0, False
    reader = _BlockReader(written)
    for source in sources:
        found = reader.read(source.expected.numel())
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
    """Compare bytes: a NaN equals itself, and -0 differs from 0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    # Words of 8 bytes are four times as fast as bytes, if length and offsets allow them.
    flat = one.reshape(-1), other.reshape(-1)
    extents = [part.nbytes | int(part.storage_offset()) * part.itemsize for part in flat]
    word = torch.uint8 if any(extent % torch.int64.itemsize for extent in extents) else torch.int64
    return torch.equal(flat[0].view(word), flat[1].view(word))


class _BlockReader:
    """Reads a tensor from its file in blocks of any length."""

    def __init__(self, info: TensorInfo) -> None:
        self._blocks: Iterator[torch.Tensor] = read_blocks(info, BLOCK_BYTES)
        self._remainder = torch.empty(0, dtype=info.dtype)

    def read(self, count: int) -> torch.Tensor:
        """Return the next `count` elements; fewer at the end of the tensor."""
        parts = [self._remainder]
        have = self._remainder.numel()
        while have < count and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            have += block.numel()
        parts = [part for part in parts if part.numel()] or parts[:1]
        flat = torch.cat(parts) if len(parts) > 1 else parts[0]
        self._remainder = flat[count:]
        return flat[:count]
