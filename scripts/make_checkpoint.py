#!/usr/bin/env python3
"""Make a checkpoint with random weights in the original or the native layout.

Real names, shapes, shards and LoRAs, so that the full-size figures of `docs/strip-export.md` can
be repeated without the real weights (25 GB of disk). It answers nonsense. One tensor is in memory
at a time.

    python scripts/make_checkpoint.py --layout original --size full build/original
"""

from __future__ import annotations

import argparse
import functools
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phi4audio_cli.checkpoint.writer import (
    Planned,
    Shard,
    plan_shards,
    write_json,
    write_shards,
    write_text,
)

SHARD_BYTES = 5_000_000_000
TILE = 1_048_573
"""A prime, so that no two rows of a tensor are the same."""
VISION_DEFAULTS = {"hidden": 1152, "mlp": 4304, "layers": 27, "heads": 16}
LINEARS = ("mlp.down_proj", "mlp.gate_up_proj", "self_attn.o_proj", "self_attn.qkv_proj")
TARGETS = r"((layers.*self_attn\.(qkv|o)_proj)|(layers.*mlp\.(gate_up|down)_proj))"
PLACEHOLDERS = {
    "original": ("<|endoftext10|>", "<|endoftext11|>"),
    "native": ("<|image|>", "<|audio|>"),
}
BLOCK = r"(\.embed_tokens_extend\.audio_embed\.encoder\.encoders\.\d+)"
TO_ORIGINAL = (
    (BLOCK + r"\.feed_forward_(in|out)\.gate_up_proj\.", r"\1.feed_forward_\2.net.0.linear."),
    (BLOCK + r"\.feed_forward_(in|out)\.down_proj\.", r"\1.feed_forward_\2.net.2."),
    (BLOCK + r"\.self_attn\.([qkv])_proj\.", r"\1.self_attn.linear_\2."),
    (BLOCK + r"\.self_attn\.o_proj\.", r"\1.self_attn.linear_out."),
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


@dataclass(frozen=True)
class Size:
    """How large the network is."""

    hidden: int
    heads: int
    kv_heads: int
    mlp: int
    layers: int
    encoder_hidden: int
    encoder_heads: int
    encoder_mlp: int
    encoder_blocks: int
    conv_channels: int
    vision: dict[str, int]
    speech_rank: int
    vision_rank: int
    vocabulary: int = 200_064


FULL = Size(3072, 24, 8, 8192, 32, 1024, 16, 1536, 24, 1024, VISION_DEFAULTS, 320, 256)
SMALL = Size(
    32, 4, 2, 48, 2, 48, 4, 64, 2, 16, {"hidden": 32, "mlp": 48, "layers": 2, "heads": 2}, 6, 4
)


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=("original", "native"), default="original")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = FULL if arguments.size == "full" else SMALL
    make(arguments.folder, arguments.layout, size, seed=arguments.seed)


def make(
    folder: Path,
    layout: str,
    size: Size = SMALL,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint, adapters included.

    Args:
        folder: Made where it is missing.
        layout: `original`, with the LoRAs among the weights, or `native`, with them beside.
        size: Of the network.
        seed: The same one gives the same weights.
        dtype: Of the weights.
        shard_bytes: Most bytes in a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = native_shapes(size)
    if layout == "original":
        write_json(folder / "config.json", original_config(size))
        shapes = dict(original_shapes(shapes, size))
    else:
        write_json(folder / "config.json", native_config(size))
        for kind, rank in (("speech", size.speech_rank), ("vision", size.vision_rank)):
            write_adapter(folder / f"{kind}-lora", shapes, rank, seed=seed, dtype=dtype)
    planned = [Planned(name, dtype, shape) for name, shape in shapes.items()]
    shards = plan_shards(planned, shard_bytes)
    write(folder, shards, seed)
    write_other_files(folder, layout)


def write(folder: Path, shards: tuple[Shard, ...], seed: int) -> None:
    """Write shards of random tensors."""
    known = {planned.name: planned for shard in shards for planned in shard.tensors}
    write_shards(
        folder, shards, lambda name: [random_tensor(known[name], seed)], lambda count: None
    )


def random_tensor(planned: Planned, seed: int) -> torch.Tensor:
    """Values a network can compute with: small weights, norms of about one."""
    if planned.name.endswith("global_invstd"):
        return torch.ones(planned.shape, dtype=planned.dtype)
    mean = 1.0 if re.search(r"norm\w*\.weight$", planned.name) else 0.0
    fan_in = planned.shape[-1] if len(planned.shape) > 1 else 2500
    # Placed by name, so that both layouts hold the same network.
    start = zlib.crc32(canonical(planned.name).encode()) % TILE
    tile = noise(seed).roll(start).mul(0.7 / math.sqrt(fan_in)).add_(mean).to(planned.dtype)
    result = torch.empty(planned.shape, dtype=planned.dtype)
    for part in result.view(-1).split(TILE):
        part.copy_(tile[: part.numel()])
    return result


@functools.cache
def noise(seed: int) -> torch.Tensor:
    """Normal noise that all tensors are laid with: drawing all of it anew takes ten minutes."""
    return torch.randn(TILE, generator=torch.Generator().manual_seed(seed))


def canonical(name: str) -> str:
    """One name for a tensor, whatever the layout."""
    for pattern, replacement in TO_ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^base_model\.model\.|\.(speech|vision)(?=\.weight$)", "", name)


def native_shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Every stored tensor of transformers' class, vision included."""
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

    with torch.device("meta"):
        model = Phi4MultimodalForCausalLM(Phi4MultimodalConfig(**native_config(size)))
    return {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def original_shapes(
    shapes: dict[str, tuple[int, ...]], size: Size
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The same in Microsoft's names, with both LoRAs."""
    for name, shape in shapes.items():
        for pattern, replacement in TO_ORIGINAL:
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
    """A LoRA in peft's format."""
    folder.mkdir(exist_ok=True)
    tensors = []
    for name, (rows, *columns) in shapes.items():
        module = name.removesuffix(".weight")
        if re.search(r"^model\.layers\.", module) and module.endswith(LINEARS):
            prefix = f"base_model.model.{module}"
            tensors.append(Planned(f"{prefix}.lora_A.weight", dtype, (rank, *columns)))
            tensors.append(Planned(f"{prefix}.lora_B.weight", dtype, (rows, rank)))
    write(folder, (Shard("adapter_model.safetensors", tuple(tensors)),), seed)
    write_json(folder / "adapter_config.json", adapter_config(rank))


def adapter_config(rank: int) -> dict[str, Any]:
    """What peft needs to load it."""
    return {
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        # Not by the ends of names: the audio encoder has linears of the same names.
        "target_modules": r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)",
        "task_type": "CAUSAL_LM",
    }


def original_config(size: Size) -> dict[str, Any]:
    """`config.json` as Microsoft writes it."""
    encoder = {
        "activation": "swish",
        "attention_dim": size.encoder_hidden,
        "attention_heads": size.encoder_heads,
        "causal": True,
        "chunk_size": -1,
        "conv_activation": "swish",
        "conv_glu_type": "swish",
        "depthwise_multiplier": 1,
        "depthwise_seperable_out_channel": size.encoder_hidden,
        "dropout_rate": 0.0,
        "ext_pw_out_channel": size.encoder_hidden,
        "input_layer": "nemo_conv",
        "input_size": 80,
        "kernel_size": 3,
        "left_chunk": 18,
        "linear_units": size.encoder_mlp,
        "nemo_conv_settings": {"conv_channels": size.conv_channels},
        "num_blocks": size.encoder_blocks,
        "relative_attention_bias_args": {"t5_bias_max_distance": 500, "type": "t5"},
        "time_reduction": 8,
    }
    return {
        **decoder_config(size),
        "architectures": ["Phi4MMForCausalLM"],
        "audio_processor": {"config": encoder, "name": "cascades"},
        "embd_layer": {
            "audio_embd_layer": {"downsample_rate": 1, "projection_cls": "mlp"},
            "image_embd_layer": {"crop_size": 448, "projection_cls": "mlp"},
        },
        "model_type": "phi4mm",
        "speech_lora": lora_settings(size.speech_rank),
        "torch_dtype": "bfloat16",
        "vision_lora": lora_settings(size.vision_rank),
    }


def native_config(size: Size) -> dict[str, Any]:
    """`config.json` as transformers writes it."""
    return {
        **decoder_config(size),
        "architectures": ["Phi4MultimodalForCausalLM"],
        "audio_config": {
            "bias_max_distance": 500,
            "depthwise_separable_out_channel": size.encoder_hidden,
            "ext_pw_out_channel": size.encoder_hidden,
            "hidden_size": size.encoder_hidden,
            "intermediate_size": size.encoder_mlp,
            "nemo_conv_channels": size.conv_channels,
            "num_attention_heads": size.encoder_heads,
            "num_blocks": size.encoder_blocks,
        },
        "dtype": "bfloat16",
        "model_type": "phi4_multimodal",
        "vision_config": {
            "hidden_size": size.vision["hidden"],
            "intermediate_size": size.vision["mlp"],
            "num_attention_heads": size.vision["heads"],
            "num_hidden_layers": size.vision["layers"],
        },
    }


def decoder_config(size: Size) -> dict[str, Any]:
    """What both layouts say of the decoder."""
    frequencies = size.hidden // size.heads * 3 // 4 // 2
    return {
        "bos_token_id": 199999,
        "eos_token_id": 199999,
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "max_position_embeddings": 131072,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.kv_heads,
        "original_max_position_embeddings": 4096,
        "pad_token_id": 199999,
        "partial_rotary_factor": 0.75,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "long_factor": [round(32.0 ** (i / frequencies), 4) for i in range(frequencies)],
            "short_factor": [1.0] * frequencies,
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": size.vocabulary,
    }


def lora_settings(rank: int) -> dict[str, Any]:
    """A LoRA's part of the original configuration."""
    return {"dp": 0.0, "layer": TARGETS, "lora_alpha": 2 * rank, "r": rank}


def write_other_files(folder: Path, layout: str) -> None:
    """Tokenizer (a stand-in of bytes), feature extractor, generation settings, licence."""
    image, audio = PLACEHOLDERS[layout]
    kind = "Phi4MM" if layout == "original" else "Phi4Multimodal"
    extractor = (
        "Phi4MMAudioFeatureExtractor" if kind == "Phi4MM" else "Phi4MultimodalFeatureExtractor"
    )
    write_json(folder / "tokenizer.json", tokenizer(image, audio))
    write_json(folder / "tokenizer_config.json", tokenizer_config(image, audio))
    write_json(
        folder / "preprocessor_config.json",
        {
            "audio_compression_rate": 8,
            "audio_downsample_rate": 1,
            "audio_feat_stride": 1,
            "dynamic_hd": 36,
            "feature_extractor_type": extractor,
            "image_processor_type": f"{kind}ImageProcessor",
            "processor_class": f"{kind}Processor",
        },
    )
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": 199999, "eos_token_id": [200020, 199999], "pad_token_id": 199999},
    )
    write_text(folder / "LICENSE", "Random weights, made by scripts/make_checkpoint.py. MIT.\n")


def tokenizer(image: str, audio: str) -> dict[str, Any]:
    """A tokenizer of single bytes with the special tokens at their real ids."""
    from tokenizers.pre_tokenizers import ByteLevel

    special = {**special_tokens(image, audio)}
    vocabulary = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": content, **flags, "special": True}
            for content, i in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary | special, "merges": []},
    }


def tokenizer_config(image: str, audio: str) -> dict[str, Any]:
    """How transformers wraps it."""
    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    more = [token for token in special_tokens(image, audio) if token != "<|endoftext|>"]
    return {**ends, "additional_special_tokens": more, "tokenizer_class": "PreTrainedTokenizerFast"}


def special_tokens(image: str, audio: str) -> dict[str, int]:
    """Ids of the published tokenizer."""
    return {
        "<|endoftext|>": 199999,
        image: 200010,
        audio: 200011,
        "<|endofprompt|>": 200018,
        "<|assistant|>": 200019,
        "<|end|>": 200020,
        "<|user|>": 200021,
        "<|system|>": 200022,
    }


if __name__ == "__main__":
    main()
