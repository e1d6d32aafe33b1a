"""The speech LoRA: where it lies, whether it is whole, and its merge into the weights.

LoRA: https://arxiv.org/abs/2106.09685. Without it the model answers that it can't listen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phi4audio_cli.checkpoint.layout import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    is_speech_lora_tensor,
    native_name,
)
from phi4audio_cli.checkpoint.safetensors_reader import (
    TensorInfo,
    read_header,
    read_json,
    read_tensor,
    refuse_pickles,
)
from phi4audio_cli.errors import CheckpointError

_FACTOR_NAME = re.compile(r"^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.\w+)?\.weight$")
_DECODER_LINEAR = re.compile(r"^model\.layers\.\d+\.(?:self_attn|mlp)\.\w+_proj$")
_MERGE_BLOCK_ELEMENTS = 1 << 22
"""Elements of a weight."""

_UNSUPPORTED_KEYS = (
    "alpha_pattern",
    "fan_in_fan_out",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "use_dora",
)


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The two factors that change one linear layer: A (rank, in) and B (out, rank)."""

    a: TensorInfo
    b: TensorInfo


@dataclass(frozen=True, slots=True)
class SpeechLora:
    """An adapter that was found and whose headers fit the model."""

    source: str
    rank: int
    alpha: float
    rank_stabilized: bool
    """rsLoRA (https://arxiv.org/abs/2312.03732): scaled by the root of the rank."""
    pairs: Mapping[str, LoraPair]
    """By native module name, e.g. `check_model.layers.0.mlp.down_proj`."""
    target_modules: str | tuple[str, ...]
    """The modules its config names: a pattern or the ends of names."""

    @property
    def scale(self) -> float:
        """What B @ A is multiplied with."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def merge_into(
        self, module: str, weight: torch.Tensor, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """W + scale * B @ A, computed in float32.

        Args:
            module: A name of `pairs`.
            weight: The base weight W, (out, in).
            dtype: Of the result; that of `weight` where None.
        """
        a, b = (read_tensor(half).float() for half in (self.pairs[module].a, self.pairs[module].b))
        result = torch.empty(weight.shape, dtype=dtype or weight.dtype)
        # Some rows at a time, so that the float32 copies stay small and their memory is reused.
        step = max(_MERGE_BLOCK_ELEMENTS // weight.shape[1], 1)
        for start in range(0, weight.shape[0], step):
            rows = slice(start, start + step)
            base = weight[rows].to(torch.float32, copy=True)
            result[rows] = base.addmm_(b[rows], a, alpha=self.scale)
        return result


def read_inline_lora(
    infos: Mapping[str, TensorInfo], config: Mapping[str, Any], where: str
) -> SpeechLora | None:
    """The speech LoRA among an original checkpoint's weights, or None where it has none.

    Args:
        infos: All stored tensors.
        config: The checkpoint's `config.json`, with its `speech_lora`.
        where: The checkpoint, for messages.

    Raises:
        CheckpointError: Half of it is missing, or its ranks aren't what the config says.
    """
    halves = [info for name, info in infos.items() if is_speech_lora_tensor(name)]
    if not halves:
        return None
    settings = config.get("speech_lora")
    if not isinstance(settings, dict):
        raise CheckpointError("its config has no speech_lora, but its weights have", where)
    return _build_lora(halves, settings, where)


def read_peft_adapter(folder: Path) -> SpeechLora:
    """The adapter in a folder in peft's format.

    Raises:
        CheckpointError: It is missing, incomplete, of a kind that can't be merged, in a pickle
            file, or of other ranks than its config says.
    """
    if not folder.is_dir():
        raise CheckpointError("there is no such adapter folder", str(folder))
    if not (folder / ADAPTER_WEIGHTS).is_file():
        refuse_pickles(folder)
        raise CheckpointError(
            f"holds no {ADAPTER_WEIGHTS}", str(folder), "name a folder peft wrote"
        )
    settings = read_json(folder / ADAPTER_CONFIG)
    _refuse_unsupported(settings, folder)
    return _build_lora(read_header(folder / ADAPTER_WEIGHTS).values(), settings, str(folder))


def check_shapes(lora: SpeechLora, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks that every pair changes a weight the model has, and fits it.

    Args:
        lora: The adapter.
        shapes: Of the model's tensors, by native name.

    Raises:
        CheckpointError: An unknown module, factors of the wrong size, or a module left out.
    """
    for module, pair in lora.pairs.items():
        shape = shapes.get(f"{module}.weight")
        if shape is None:
            raise CheckpointError("changes a module the model doesn't have", pair.a.description)
        if (pair.b.shape[0], pair.a.shape[1]) != shape:
            raise CheckpointError(
                f"gives a change of {(pair.b.shape[0], pair.a.shape[1])} for a weight of {shape}",
                pair.b.description,
                "use the adapter of this model",
            )
    _check_complete(lora, (name.removesuffix(".weight") for name in shapes))


def check_not_zero(lora: SpeechLora) -> None:
    """Checks that the merge changes something: a conversion can lose every lora_B silently.

    Source: https://github.com/huggingface/transformers/issues/38395.

    Raises:
        CheckpointError: scale * B @ A is zero for every module.
    """
    for pair in lora.pairs.values():
        # The first module settles it in a sound adapter, so little is read.
        b = read_tensor(pair.b)
        if bool(b.any()) and bool((b.float() @ read_tensor(pair.a).float()).any()) and lora.scale:
            return
    raise CheckpointError(
        "changes nothing: scale * B @ A is zero in every module, so the model would not hear",
        lora.source,
        "its lora_B were lost in a conversion; get the adapter from its source again",
    )


def _build_lora(
    factors: Iterable[TensorInfo], settings: Mapping[str, Any], where: str
) -> SpeechLora:
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise CheckpointError("its config doesn't say r and lora_alpha", where)
    pairs = _pair_factors(factors, where)
    for pair in pairs.values():
        _check_rank(pair, rank)
    stabilized = bool(settings.get("use_rslora"))
    return SpeechLora(where, rank, alpha, stabilized, pairs, _target_modules(settings))


def _pair_factors(factors: Iterable[TensorInfo], where: str) -> dict[str, LoraPair]:
    found: dict[str, dict[str, TensorInfo]] = {}
    for info in factors:
        match = _FACTOR_NAME.match(info.name)
        if match is None:
            raise CheckpointError("isn't a tensor of a LoRA", info.description)
        module, half = native_name(match[1]), match[2]
        if half in found.setdefault(module, {}):
            raise CheckpointError("is stored twice", info.description)
        found[module][half] = info
    if not found:
        raise CheckpointError("the adapter is empty", where)
    for module, both in found.items():
        if len(both) < 2:
            (lone,) = both.values()
            raise CheckpointError(
                f"the other half of the LoRA of {module} is missing", lone.description
            )
    return {module: LoraPair(found[module]["A"], found[module]["B"]) for module in sorted(found)}


def _check_rank(pair: LoraPair, rank: int) -> None:
    if len(pair.a.shape) != 2 or len(pair.b.shape) != 2:
        raise CheckpointError("a LoRA's factors must be matrices", pair.a.description)
    for info, found in ((pair.a, pair.a.shape[0]), (pair.b, pair.b.shape[1])):
        if found != rank:
            raise CheckpointError(
                f"has rank {found}, but its config says {rank}",
                info.description,
                "tensors and config come from different adapters",
            )


def _check_complete(lora: SpeechLora, modules: Iterable[str]) -> None:
    """Checks that every decoder layer the adapter's config names has its factors."""
    for module in modules:
        if module in lora.pairs or not _DECODER_LINEAR.match(module):
            continue
        if _is_target(module, lora):
            raise CheckpointError(
                f"lacks the LoRA of {module}, which its config names",
                lora.source,
                "the adapter is incomplete; get it from its source again",
            )


def _is_target(module: str, lora: SpeechLora) -> bool:
    if isinstance(lora.target_modules, str):
        try:
            return re.search(f"(?:{lora.target_modules})$", module) is not None
        except re.error as error:
            raise CheckpointError(f"its target pattern is broken: {error}", lora.source) from error
    return any(f".{module}".endswith(f".{target}") for target in lora.target_modules)


def _target_modules(settings: Mapping[str, Any]) -> str | tuple[str, ...]:
    """Which modules a LoRA's config says it changes; empty where that can't be told."""
    if any(settings.get(key) for key in ("layers_to_transform", "exclude_modules")):
        return ()
    targets = settings.get("target_modules") or settings.get("layer") or ()
    if isinstance(targets, str):
        return () if targets == "all-linear" else targets
    return tuple(targets)


def _refuse_unsupported(settings: Mapping[str, Any], folder: Path) -> None:
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise CheckpointError(f"is a {kind} adapter, only LORA can be merged", str(folder))
    for key in _UNSUPPORTED_KEYS:
        if settings.get(key):
            raise CheckpointError(
                f"uses {key}, which isn't supported", str(folder / ADAPTER_CONFIG)
            )
    if settings.get("bias", "none") != "none":
        raise CheckpointError("changes biases, which isn't supported", str(folder / ADAPTER_CONFIG))
