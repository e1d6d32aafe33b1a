"""Small random networks of the real architecture."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import Phi4MultimodalConfig
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from phi4audio_cli.model.encoder import AudioEncoder
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM

AUDIO_TOKEN = 5
VOCABULARY = 64


def rope(head_pairs: int, switch: int) -> dict[str, object]:
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "factor": 32.0,
        "short_factor": [1.0] * head_pairs,
        "long_factor": [1.0 + index for index in range(head_pairs)],
        "original_max_position_embeddings": switch,
    }


def small_config(switch: int = 4096) -> Phi4MultimodalConfig:
    return Phi4MultimodalConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32 * switch,
        original_max_position_embeddings=switch,
        tie_word_embeddings=True,
        initializer_range=0.3,
        rope_parameters=rope(6, switch),
        bos_token_id=0,
        pad_token_id=0,
        eos_token_id=[0, 1],
        audio_config={
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
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "crop_size": 28,
            "image_token_id": 6,
        },
    )


def real_config() -> Phi4MultimodalConfig:
    """Return the sizes of the published checkpoint."""
    return Phi4MultimodalConfig(
        hidden_size=3072,
        num_hidden_layers=32,
        num_attention_heads=24,
        num_key_value_heads=8,
        intermediate_size=8192,
        vocab_size=200064,
        tie_word_embeddings=True,
        rope_parameters=rope(48, 4096),
        audio_config={"bias_max_distance": 500},
    )


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


def small_model(attention: str = "sdpa", switch: int = 4096) -> Phi4AudioForCausalLM:
    config = small_config(switch)
    config._attn_implementation = attention
    model = Phi4AudioForCausalLM(config).eval()
    randomise(model, seed=3)
    model.tie_weights()
    return model


def encoders(attention: str) -> tuple[AudioEncoder, Phi4MultimodalAudioModel]:
    """Return our encoder and transformers' own with the same weights."""
    config = small_config().audio_config
    config._attn_implementation = attention
    ours, theirs = AudioEncoder(config).eval(), Phi4MultimodalAudioModel(config).eval()
    randomise(ours, seed=5)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def save_tokenizer(folder: Path) -> None:
    """Write a tokenizer with one token a letter, and the control tokens by their usual names."""
    control = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|audio|>"]
    letters = [chr(code) for code in range(ord("A"), ord("A") + VOCABULARY - len(control))]
    vocabulary = {token: index for index, token in enumerate(control + letters)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens(control)
    tokenizer.save(str(folder / "tokenizer.json"))


def features(frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + frames)
    return 3 * torch.randn(frames, 80, generator=generator)


def prompt(frames: int, seed: int = 0, max_new_tokens: int = 12) -> Prepared:
    return Prepared(features(frames, seed), (2,), (7 + seed % 9, 11, 3, 4), max_new_tokens)
