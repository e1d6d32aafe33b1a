"""The plan of an export: files and sizes, known from the headers alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.checkpoint import Checkpoint, SpeechLoraMode
from phi4audio_cli.checkpoint.layout import (
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS,
    TIED_HEAD,
    is_vision_tensor,
)
from phi4audio_cli.checkpoint.safetensors_reader import TensorInfo
from phi4audio_cli.checkpoint.safetensors_writer import ShardSpec, TensorSpec, plan_shards


@dataclass(frozen=True)
class ExportPlan:
    """A checkpoint, and the files that will be made of it."""

    checkpoint: Checkpoint
    mode: SpeechLoraMode
    source: str
    """The source as the user named it, without a folder of this machine."""
    shards: tuple[ShardSpec, ...]
    adapter: ShardSpec | None
    """The speech LoRA's file in `trust` mode."""

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all files of weights that will be written, the adapter's included."""
        shards = (*self.shards, self.adapter) if self.adapter else self.shards
        return sum(shard.nbytes for shard in shards)

    @cached_property
    def tensor_bytes(self) -> int:
        """Bytes of tensors without headers, which is what progress is counted in."""
        shards = (*self.shards, self.adapter) if self.adapter else self.shards
        return sum(planned.nbytes for shard in shards for planned in shard.tensors)

    @cached_property
    def source_parameters(self) -> int:
        """Parameters of the whole model, vision included, LoRAs not."""
        vision = (info for info in self.checkpoint.skipped if not _is_lora_or_head(info))
        return self.checkpoint.audio_parameters + sum(info.numel for info in vision)

    @cached_property
    def source_bytes(self) -> int:
        """Bytes of the files of weights that are read, the adapter's included."""
        return sum(file.stat().st_size for file in source_files(self.checkpoint))

    @cached_property
    def lora_parameters(self) -> int:
        """Parameters of the speech LoRA."""
        lora = self.checkpoint.adapter
        pairs = lora.pairs.values() if lora else ()
        return sum(pair.a.numel + pair.b.numel for pair in pairs)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data: what is kept, dropped, merged, before and after."""
        checkpoint = self.checkpoint
        left_out = checkpoint.skipped
        vision = [info for info in left_out if is_vision_tensor(info.name)]
        before, after = self.source_parameters, checkpoint.audio_parameters
        return {
            "source": self.source,
            "layout": checkpoint.layout,
            "speech_lora": self.mode,
            "dtype": checkpoint.config["dtype"],
            "tensors": {
                "kept": len(checkpoint.expected_shapes),
                "merged": len(checkpoint.merged_modules),
                "dropped": len(left_out) - self._count_inline_factors(),
            },
            "dropped_bytes": sum(info.nbytes for info in vision),
            "parameters": {"before": before, "after": after, "saved": before - after},
            "speech_lora_parameters": self.lora_parameters,
            "stub_parameters": checkpoint.stub_parameters,
            "bytes": {
                "before": self.source_bytes,
                "after": self.weight_bytes,
                "saved": self.source_bytes - self.weight_bytes,
            },
            "files": [shard.file for shard in self.shards]
            + ([f"{ADAPTER_FOLDER}/{ADAPTER_WEIGHTS}"] if self.adapter else []),
        }

    def _count_inline_factors(self) -> int:
        names = {info.name for info in self.checkpoint.skipped}
        lora = self.checkpoint.adapter
        pairs = lora.pairs.values() if lora else ()
        return sum((pair.a.name in names) + (pair.b.name in names) for pair in pairs)


def plan_export(
    checkpoint: Checkpoint, mode: SpeechLoraMode, source: str, max_shard_bytes: int
) -> ExportPlan:
    """Plans the files of an export.

    Args:
        checkpoint: Opened in the same `mode`.
        mode: What becomes of the speech LoRA.
        source: The source as the user named it.
        max_shard_bytes: Of tensors in a file.
    """
    weights = (
        TensorSpec(name, checkpoint.output_dtype(name), shape)
        for name, shape in checkpoint.expected_shapes.items()
    )
    shards = plan_shards(weights, max_shard_bytes)
    return ExportPlan(checkpoint, mode, source, shards, _plan_adapter(checkpoint, mode))


def adapter_tensors(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """The tensors of the speech LoRA by the names peft reads."""
    lora = checkpoint.adapter
    pairs = lora.pairs.items() if lora else ()
    return {
        f"base_model.model.{module}.lora_{half}.weight": info
        for module, pair in pairs
        for half, info in (("A", pair.a), ("B", pair.b))
    }


def source_files(checkpoint: Checkpoint) -> list[Path]:
    """The files of weights that an export reads."""
    infos: Iterable[TensorInfo] = (
        *checkpoint.stored_tensors.values(),
        *checkpoint.skipped,
        *adapter_tensors(checkpoint).values(),
    )
    return sorted({info.file for info in infos})


def _plan_adapter(checkpoint: Checkpoint, mode: SpeechLoraMode) -> ShardSpec | None:
    if mode != "keep" or checkpoint.adapter is None:
        return None
    halves = adapter_tensors(checkpoint).items()
    return ShardSpec(
        ADAPTER_WEIGHTS, tuple(TensorSpec(name, info.dtype, info.shape) for name, info in halves)
    )


def _is_lora_or_head(info: TensorInfo) -> bool:
    return ".lora_" in info.name or info.name == TIED_HEAD
