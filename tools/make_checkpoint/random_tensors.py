"""The tensors of a random checkpoint: names and shapes of both layouts, values from a seed."""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch

from phi4audio_cli.checkpoint.safetensors_writer import (
    ShardSpec,
    TensorSpec,
    write_json,
    write_shards,
)
from tools.make_checkpoint.checkpoint_configs import adapter_config, native_config
from tools.make_checkpoint.network_sizes import NetworkSize

TILE_ELEMENTS = 1_048_573
"""A prime, so that the rows of a tensor differ."""
LINEARS = ("mlp.down_proj", "mlp.gate_up_proj", "self_attn.o_proj", "self_attn.qkv_proj")
ENCODER_BLOCK = r"(\.embed_tokens_extend\.audio_embed\.encoder\.encoders\.\d+)"
NATIVE_TO_ORIGINAL = (
    (
        ENCODER_BLOCK + r"\.feed_forward_(in|out)\.gate_up_proj\.",
        r"\1.feed_forward_\2.net.0.linear.",
    ),
    (ENCODER_BLOCK + r"\.feed_forward_(in|out)\.down_proj\.", r"\1.feed_forward_\2.net.2."),
    (ENCODER_BLOCK + r"\.self_attn\.([qkv])_proj\.", r"\1.self_attn.linear_\2."),
    (ENCODER_BLOCK + r"\.self_attn\.o_proj\.", r"\1.self_attn.linear_out."),
    (r"\.up_proj_for_speech\.", ".audio_projection.speech.0."),
    (r"\.down_proj_for_speech\.", ".audio_projection.speech.2."),
    (r"\.up_proj_for_vision_speech\.", ".audio_projection.vision.0."),
    (r"\.down_proj_for_vision_speech\.", ".audio_projection.vision.2."),
    (r"\.img_projection_up\.", ".img_projection.0."),
    (r"\.img_projection_down\.", ".img_projection.2."),
    (r"\.global_img_feature_extensor$", ".glb_GN"),
    (r"\.sub_img_feature_extensor$", ".sub_GN"),
    (r"^(model\.layers\.\d+\.(?:self_attn|mlp)\.\w+_proj)\.weight$", r"\1.base_layer.weight"),
)


def write_random_shards(folder: Path, shards: tuple[ShardSpec, ...], seed: int) -> None:
    """Write shards of random tensors."""
    known = {planned.name: planned for shard in shards for planned in shard.tensors}
    write_shards(
        folder, shards, lambda name: [random_tensor(known[name], seed)], lambda count: None
    )


def random_tensor(planned: TensorSpec, seed: int) -> torch.Tensor:
    """Return values for a stable network: small weights, norms of about one."""
    if planned.name.endswith("global_invstd"):
        return torch.ones(planned.shape, dtype=planned.dtype)
    mean = 1.0 if re.search(r"norm\w*\.weight$", planned.name) else 0.0
    fan_in = planned.shape[-1] if len(planned.shape) > 1 else 2500
    # The name determines the values, so that both layouts have the same network.
    start = zlib.crc32(canonical_name(planned.name).encode()) % TILE_ELEMENTS
    tile = noise_tile(seed).roll(start).mul(0.7 / math.sqrt(fan_in)).add_(mean).to(planned.dtype)
    result = torch.empty(planned.shape, dtype=planned.dtype)
    for part in torch.split(result.view(-1), TILE_ELEMENTS):
        part.copy_(tile[: part.numel()])
    return result


@functools.cache
def noise_tile(seed: int) -> torch.Tensor:
    """Return normal noise to fill tensors with: drawing all numbers would take ten minutes."""
    return torch.randn(TILE_ELEMENTS, generator=torch.Generator().manual_seed(seed))


def canonical_name(name: str) -> str:
    """Return the same name for a tensor in either layout."""
    for pattern, replacement in NATIVE_TO_ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^base_model\.model\.|\.(speech|vision)(?=\.weight$)", "", name)


def native_shapes(size: NetworkSize) -> dict[str, tuple[int, ...]]:
    """Return every stored tensor of transformers' class, with vision."""
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

    with torch.device("meta"):
        model = Phi4MultimodalForCausalLM(Phi4MultimodalConfig(**native_config(size)))
    return {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def original_shapes(
    shapes: dict[str, tuple[int, ...]], size: NetworkSize
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and shapes under Microsoft's names, with both LoRAs."""
    for name, shape in shapes.items():
        for pattern, replacement in NATIVE_TO_ORIGINAL:
            name = re.sub(pattern, replacement, name)
        yield name, shape
        if name.endswith(".base_layer.weight"):
            module = name.removesuffix(".base_layer.weight")
            for kind, rank in (("speech", size.speech_rank), ("vision", size.vision_rank)):
                yield f"{module}.lora_A.{kind}.weight", (rank, shape[1])
                yield f"{module}.lora_B.{kind}.weight", (shape[0], rank)


def write_adapter(
    folder: Path, shapes: dict[str, tuple[int, ...]], rank: int, *, seed: int, dtype: torch.dtype
) -> None:
    """Write a LoRA in peft's format."""
    folder.mkdir(exist_ok=True)
    tensors = []
    for name, (rows, *columns) in shapes.items():
        module = name.removesuffix(".weight")
        if re.search(r"^model\.layers\.", module) and module.endswith(LINEARS):
            prefix = f"base_model.model.{module}"
            tensors.append(TensorSpec(f"{prefix}.lora_A.weight", dtype, (rank, *columns)))
            tensors.append(TensorSpec(f"{prefix}.lora_B.weight", dtype, (rows, rank)))
    write_random_shards(folder, (ShardSpec("adapter_model.safetensors", tuple(tensors)),), seed)
    write_json(folder / "adapter_config.json", adapter_config(rank))
