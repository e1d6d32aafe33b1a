"""The configuration of the demo model: a very small Phi-4-multimodal."""

from __future__ import annotations

from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

from training.spoken_digits.digit_tasks import (
    AUDIO,
    END,
    END_OF_TEXT,
    IMAGE,
    VOCABULARY_SIZE,
    special_id,
)


def demo_config() -> Phi4MultimodalConfig:
    """Return the demo model's configuration: 4.3 million parameters with audio only."""
    ends = [special_id(END_OF_TEXT), special_id(END)]
    return Phi4MultimodalConfig(
        architectures=["Phi4MultimodalForCausalLM"],
        vocab_size=VOCABULARY_SIZE,
        hidden_size=192,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        initializer_range=0.05,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0,
        },
        sliding_window=None,
        bos_token_id=ends[0],
        pad_token_id=ends[0],
        eos_token_id=ends,
        audio_config=_audio_config(),
        vision_config=_vision_stub(),
    )  # fmt: skip


def _audio_config() -> dict[str, object]:
    """Return the configuration of the encoder: six blocks of 144, otherwise as the real one."""
    return {
        "hidden_size": 144,
        "intermediate_size": 288,
        "num_blocks": 6,
        "num_attention_heads": 6,
        "ext_pw_out_channel": 144,
        "depthwise_separable_out_channel": 144,
        "nemo_conv_channels": 32,
        "bias_max_distance": 64,
        "dropout_rate": 0.0,
        "audio_token_id": special_id(AUDIO),
    }


def _vision_stub() -> dict[str, object]:
    """Return the smallest vision configuration that transformers' class accepts."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "crop_size": 28,
        "image_token_id": special_id(IMAGE),
    }


def new_model() -> Phi4MultimodalForCausalLM:
    """Build the model with fresh weights."""
    config = demo_config()
    config._attn_implementation = "sdpa"
    config.audio_config._attn_implementation = "sdpa"
    return Phi4MultimodalForCausalLM(config).float()
