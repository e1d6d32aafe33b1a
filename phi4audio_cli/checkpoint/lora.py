"""The speech LoRA: read it, check that it is complete and fits, and merge it into the weights.

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
"""Elements of a weight that are merged at once, so that the float32 copies stay small."""

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
    """The two factors of the update of one linear layer: A (rank, in) and B (out, rank)."""

    a: TensorInfo
    b: TensorInfo


@dataclass(frozen=True, slots=True)
class SpeechLora:
    """A speech LoRA, known from the headers of its files."""

    source: str
    """Its folder or checkpoint, for messages."""
    rank: int
    alpha: float
    rank_stabilized: bool
    """rsLoRA (https://arxiv.org/abs/2312.03732): scaled by the root of the rank."""
    pairs: Mapping[str, LoraPair]
    """By native module name, e.g. `model.layers.0.mlp.down_proj`."""
    target_modules: str | tuple[str, ...]
    """The modules that its config names: a pattern, or ends of module names."""

    @property
    def scale(self) -> float:
        """Factor of B @ A."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def merge_into(
        self, module: str, weight: torch.Tensor, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Return W + scale * B @ A, computed in float32.

        Args:
            module: A name of `pairs`.
            weight: The base weight W, (out, in).
            dtype: Of the result; None: that of `weight`.
        """
        pair = self.pairs[module]
        a, b = read_tensor(pair.a).float(), read_tensor(pair.b).float()
        result = torch.empty(weight.shape, dtype=dtype or weight.dtype)
        step = max(_MERGE_BLOCK_ELEMENTS // weight.shape[1], 1)
        for start in range(0, weight.shape[0], step):
            rows = slice(start, start + step)
            base = weight[rows].to(torch.float32, copy=True)
            result[rows] = base.addmm_(b[rows], a, alpha=self.scale)
        return result


def read_inline_lora(
    infos: Mapping[str, TensorInfo], config: Mapping[str, Any], where: str
) -> SpeechLora | None:
    """Return the speech LoRA among the weights of an original checkpoint, or None.

    Args:
        infos: All stored tensors.
        config: The checkpoint's `config.json`, with its `speech_lora`.
        where: The checkpoint, for messages.

    Raises:
        CheckpointError: A factor is missing, or its rank differs from the config.
    """
    factors = [info for name, info in infos.items() if is_speech_lora_tensor(name)]
    if not factors:
        return None
    settings = config.get("speech_lora")
    if not isinstance(settings, dict):
        raise CheckpointError(
            "its weights have a speech LoRA, but its config has no speech_lora", where
        )
    return _build_lora(factors, settings, where)


def read_peft_adapter(folder: Path) -> SpeechLora:
    """Read the headers of an adapter in a folder in peft's format.

    Raises:
        CheckpointError: It is missing, incomplete, of a kind that can't be merged, in a pickle
            file, or its ranks differ from its config.
    """
    if not folder.is_dir():
        raise CheckpointError("no such adapter folder", str(folder))
    if not (folder / ADAPTER_WEIGHTS).is_file():
        refuse_pickles(folder)
        raise CheckpointError(
            f"has no {ADAPTER_WEIGHTS}", str(folder), "name a folder written by peft"
        )
    settings = read_json(folder / ADAPTER_CONFIG)
    _refuse_unsupported(settings, folder)
    return _build_lora(read_header(folder / ADAPTER_WEIGHTS).values(), settings, str(folder))


def check_shapes(lora: SpeechLora, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that every pair fits a weight of the model, and that no module is left out.

    Args:
        lora: The adapter.
        shapes: Of the model's tensors, by native name.

    Raises:
        CheckpointError: A module is unknown or left out, or factors have the wrong size.
    """
    for module, pair in lora.pairs.items():
        shape = shapes.get(f"{module}.weight")
        if shape is None:
            raise CheckpointError("the model has no such module", pair.a.description)
        if (pair.b.shape[0], pair.a.shape[1]) != shape:
            raise CheckpointError(
                f"has an update of {(pair.b.shape[0], pair.a.shape[1])} for a weight of {shape}",
                pair.b.description,
                "use the adapter of this model",
            )
    _check_complete(lora, (name.removesuffix(".weight") for name in shapes))


def check_not_zero(lora: SpeechLora) -> None:
    """Check that the merge changes a weight: a conversion can lose every lora_B silently.

    Source: https://github.com/huggingface/transformers/issues/38395.

    Raises:
        CheckpointError: scale * B @ A is zero for every module.
    """
    for pair in lora.pairs.values():
        # In an intact adapter the first module suffices, so that little is read.
        b = read_tensor(pair.b)
        if bool(b.any()) and bool((b.float() @ read_tensor(pair.a).float()).any()) and lora.scale:
            return
    raise CheckpointError(
        "changes no weight: scale * B @ A is zero everywhere, so the model would not transcribe",
        lora.source,
        "a conversion lost its lora_B; get the adapter from its source again",
    )


def _build_lora(
    factors: Iterable[TensorInfo], settings: Mapping[str, Any], where: str
) -> SpeechLora:
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise CheckpointError("its config has no valid r and lora_alpha", where)
    pairs = _pair_factors(factors, where)
    for pair in pairs.values():
        _check_rank(pair, rank)
    stabilized = bool(settings.get("use_rslora"))
    return SpeechLora(where, rank, alpha, stabilized, pairs, _target_modules(settings))


def _pair_factors(factors: Iterable[TensorInfo], where: str) -> dict[str, LoraPair]:
    halves: dict[str, dict[str, TensorInfo]] = {}
    for info in factors:
        match = _FACTOR_NAME.match(info.name)
        if match is None:
            raise CheckpointError("is not a tensor of a LoRA", info.description)
        module, half = native_name(match[1]), match[2]
        if half in halves.setdefault(module, {}):
            raise CheckpointError("is stored twice", info.description)
        halves[module][half] = info
    if not halves:
        raise CheckpointError("the adapter is empty", where)
    for module, both in halves.items():
        if len(both) < 2:
            (lone,) = both.values()
            raise CheckpointError(
                f"the other factor of the LoRA of {module} is missing", lone.description
            )
    return {module: LoraPair(halves[module]["A"], halves[module]["B"]) for module in sorted(halves)}


def _check_rank(pair: LoraPair, rank: int) -> None:
    if len(pair.a.shape) != 2 or len(pair.b.shape) != 2:
        raise CheckpointError("a LoRA's factors must be matrices", pair.a.description)
    for info, found in ((pair.a, pair.a.shape[0]), (pair.b, pair.b.shape[1])):
        if found != rank:
            raise CheckpointError(
                f"has the rank {found}, but its config has {rank}",
                info.description,
                "use the tensors and the config of the same adapter",
            )


def _check_complete(lora: SpeechLora, modules: Iterable[str]) -> None:
    """Check that every decoder layer that the adapter's config names has its factors."""
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
            raise CheckpointError(f"its target pattern is invalid: {error}", lora.source) from error
    return any(f".{module}".endswith(f".{target}") for target in lora.target_modules)


def _target_modules(settings: Mapping[str, Any]) -> str | tuple[str, ...]:
    """Return the modules that a LoRA's config names; empty: not known."""
    if any(settings.get(key) for key in ("layers_to_transform", "exclude_modules")):
        return ()
    targets = settings.get("target_modules") or settings.get("layer") or ()
    if isinstance(targets, str):
        return () if targets == "all-linear" else targets
    return tuple(targets)


def _refuse_unsupported(settings: Mapping[str, Any], folder: Path) -> None:
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise CheckpointError(f"is a {kind} adapter; only LORA can be merged", str(folder))
    for key in _UNSUPPORTED_KEYS:
        if settings.get(key):
            raise CheckpointError(
                f"uses {key}, which is not supported", str(folder / ADAPTER_CONFIG)
            )
    if settings.get("bias", "none") != "none":
        raise CheckpointError(
            "changes biases, which is not supported", str(folder / ADAPTER_CONFIG)
        )
