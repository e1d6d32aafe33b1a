"""The plan of an export: its files and sizes, from the headers of the source."""

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
    """A source checkpoint, and the files of its export."""

    checkpoint: Checkpoint
    mode: SpeechLoraMode
    source: str
    """Name of the source for the model card: a hub id, or the last part of a folder."""
    shards: tuple[ShardSpec, ...]
    adapter: ShardSpec | None
    """The file of the speech LoRA in the mode `keep`."""

    @cached_property
    def weight_bytes(self) -> int:
        """Size of all weight files, the adapter's included."""
        return sum(shard.nbytes for shard in self._weight_files)

    @cached_property
    def tensor_bytes(self) -> int:
        """Size of all tensors without headers, the total of a progress bar."""
        return sum(spec.nbytes for shard in self._weight_files for spec in shard.tensors)

    @cached_property
    def source_parameters(self) -> int:
        """Parameters of the whole model with vision, without LoRAs."""
        vision = (info for info in self.checkpoint.skipped if not _is_lora_or_head(info))
        return self.checkpoint.audio_parameters + sum(info.numel for info in vision)

    @cached_property
    def source_bytes(self) -> int:
        """Size of the source's weight files, the adapter's included."""
        return sum(file.stat().st_size for file in source_files(self.checkpoint))

    @cached_property
    def lora_parameters(self) -> int:
        """Parameters of the speech LoRA."""
        return sum(info.numel for info in adapter_tensors(self.checkpoint).values())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data: tensors, parameters and bytes before and after."""
        checkpoint = self.checkpoint
        vision = [info for info in checkpoint.skipped if is_vision_tensor(info.name)]
        before, after = self.source_parameters, checkpoint.audio_parameters
        return {
            "source": self.source,
            "layout": checkpoint.layout,
            "speech_lora": self.mode,
            "dtype": checkpoint.config["dtype"],
            "tensors": {
                "kept": len(checkpoint.expected_shapes),
                "merged": len(checkpoint.merged_modules),
                "dropped": len(checkpoint.skipped) - self._count_inline_factors(),
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

    @property
    def _weight_files(self) -> tuple[ShardSpec, ...]:
        return (*self.shards, self.adapter) if self.adapter else self.shards

    def _count_inline_factors(self) -> int:
        """Count the factors of the LoRA among the source's own weights: they are merged."""
        names = {info.name for info in self.checkpoint.skipped}
        return sum(info.name in names for info in adapter_tensors(self.checkpoint).values())


def plan_export(
    checkpoint: Checkpoint, mode: SpeechLoraMode, source: str, max_shard_bytes: int
) -> ExportPlan:
    """Plan the files of an export.

    Args:
        checkpoint: The source, opened in the same `mode`.
        mode: Treatment of the speech LoRA.
        source: Name of the source for the model card.
        max_shard_bytes: Size of the tensors of a file.
    """
    weights = (
        TensorSpec(name, checkpoint.output_dtype(name), shape)
        for name, shape in checkpoint.expected_shapes.items()
    )
    shards = plan_shards(weights, max_shard_bytes)
    return ExportPlan(checkpoint, mode, source, shards, _plan_adapter(checkpoint, mode))


def adapter_tensors(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """Return the factors of the speech LoRA by their names in peft's format."""
    lora = checkpoint.adapter
    pairs = lora.pairs.items() if lora else ()
    return {
        f"base_model.model.{module}.lora_{half}.weight": info
        for module, pair in pairs
        for half, info in (("A", pair.a), ("B", pair.b))
    }


def source_files(checkpoint: Checkpoint) -> list[Path]:
    """Return the weight files of the source, the adapter's included."""
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
