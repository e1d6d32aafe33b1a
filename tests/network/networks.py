"""Small random networks of the real architecture: ours, and transformers' with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from phi4audio_cli.network.config import Config
from phi4audio_cli.network.encoder import AudioEncoder
from phi4audio_cli.network.phi4 import Phi4Audio

AUDIO_TOKEN = 5
VOCABULARY = 64
AUDIO: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_blocks": 2,
    "num_attention_heads": 4,
    "nemo_conv_channels": 16,
    "ext_pw_out_channel": 48,
    "depthwise_separable_out_channel": 48,
    "bias_max_distance": 50,
    "initializer_range": 0.2,
    "audio_token_id": AUDIO_TOKEN,
}


def longrope(head_pairs: int, short_context: int) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "factor": 32.0,
        "short_factor": [1.0] * head_pairs,
        "long_factor": [1.0 + index for index in range(head_pairs)],
        "original_max_position_embeddings": short_context,
    }


def transformers_config(short_context: int = 4096, **changes: Any) -> Phi4MultimodalConfig:
    return Phi4MultimodalConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32 * short_context,
            "original_max_position_embeddings": short_context,
            "tie_word_embeddings": True,
            "initializer_range": 0.3,
            "rope_parameters": longrope(6, short_context),
            "bos_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": [0, 1],
            "audio_config": dict(AUDIO),
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 28,
                "crop_size": 28,
                "image_token_id": 6,
            },
            **changes,
        }
    )


def small_transformers_dict(**changes: Any) -> dict[str, Any]:
    """Return a small native configuration, as a `config.json` has it."""
    raw: dict[str, Any] = transformers_config().to_dict()
    raw.update(changes)
    pairs = int(raw["hidden_size"] // raw["num_attention_heads"] * 0.75) // 2
    raw["rope_parameters"] = longrope(pairs, 4096)
    return raw


def real_transformers_config() -> Phi4MultimodalConfig:
    """Return transformers' configuration of the published checkpoint's sizes."""
    return Phi4MultimodalConfig(
        hidden_size=3072,
        num_hidden_layers=32,
        num_attention_heads=24,
        num_key_value_heads=8,
        intermediate_size=8192,
        vocab_size=200064,
        tie_word_embeddings=True,
        rope_parameters=longrope(48, 4096),
        audio_config={"bias_max_distance": 500},
    )


def small_config(short_context: int = 4096, **changes: Any) -> Config:
    return Config.from_dict(transformers_config(short_context, **changes).to_dict())


def real_config() -> Config:
    """Return the sizes of the published checkpoint."""
    return Config.from_dict(real_transformers_config().to_dict())


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Give every parameter, biases too, a value that shows when padding leaks."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            spread = 0.3 if parameter.dim() > 1 else 0.1
            noise = torch.randn(parameter.shape, generator=generator) * spread
            is_norm = "norm" in name and name.endswith("weight")
            parameter.copy_(noise + 1 if is_norm else noise)
            if name.endswith("embed_tokens.weight"):
                parameter[AUDIO_TOKEN] = 0  # never the best token, as in a trained model


def small_network(short_context: int = 4096, **changes: Any) -> Phi4Audio:
    network = Phi4Audio(small_config(short_context, **changes)).eval()
    randomise(network, seed=3)
    return network.requires_grad_(False)


def reference_network(
    network: Phi4Audio, short_context: int = 4096, **changes: Any
) -> Phi4MultimodalForCausalLM:
    """Return transformers' class with the weights of a small network of ours."""
    reference = Phi4MultimodalForCausalLM(transformers_config(short_context, **changes)).eval()
    reference.load_state_dict(network.state_dict(), strict=False)
    reference.tie_weights()
    return reference.requires_grad_(False)


def encoders() -> tuple[AudioEncoder, Phi4MultimodalAudioModel]:
    """Return our encoder and transformers' own with the same weights."""
    config = transformers_config().audio_config
    ours, reference = AudioEncoder(small_config().audio), Phi4MultimodalAudioModel(config)
    randomise(ours, seed=5)
    reference.load_state_dict(ours.state_dict())
    return ours.eval(), reference.eval()


def features(frames: int, seed: int = 0) -> torch.Tensor:
    """Return random features, shape (frames, 80)."""
    generator = torch.Generator().manual_seed(1000 * seed + frames)
    return 3 * torch.randn(frames, 80, generator=generator)
