"""The JSON files of a random checkpoint, in both layouts."""

from __future__ import annotations

from typing import Any

from tools.make_checkpoint.network_sizes import NetworkSize

LORA_TARGETS = r"((layers.*self_attn\.(qkv|o)_proj)|(layers.*mlp\.(gate_up|down)_proj))"


def adapter_config(rank: int) -> dict[str, Any]:
    """Return `adapter_config.json` for peft."""
    return {
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        # Full patterns: the audio encoder has linear layers with the same names.
        "target_modules": r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)",
        "task_type": "CAUSAL_LM",
    }


def original_config(size: NetworkSize) -> dict[str, Any]:
    """Return `config.json` in Microsoft's form."""
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


def native_config(size: NetworkSize) -> dict[str, Any]:
    """Return `config.json` in transformers' form."""
    return {
        **decoder_config(size),
        "architectures": ["Phi4MultimodalForCausalLM"],
        "audio_config": {
            "audio_token_id": size.token_id(200011),
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
            "image_token_id": size.token_id(200010),
            "hidden_size": size.vision["hidden"],
            "intermediate_size": size.vision["mlp"],
            "num_attention_heads": size.vision["heads"],
            "num_hidden_layers": size.vision["layers"],
        },
    }


def decoder_config(size: NetworkSize) -> dict[str, Any]:
    """Return the decoder's part of both configurations."""
    frequencies = size.hidden // size.heads * 3 // 4 // 2
    return {
        "bos_token_id": size.token_id(199999),
        "eos_token_id": size.token_id(199999),
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "max_position_embeddings": 131072,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.kv_heads,
        "original_max_position_embeddings": 4096,
        "pad_token_id": size.token_id(199999),
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
    """Return a LoRA's part of the original configuration."""
    return {"dp": 0.0, "layer": LORA_TARGETS, "lora_alpha": 2 * rank, "r": rank}


def preprocessor_config(layout: str) -> dict[str, Any]:
    """Return `preprocessor_config.json`."""
    kind = "Phi4MM" if layout == "original" else "Phi4Multimodal"
    extractor = "Phi4MMAudioFeatureExtractor" if layout == "original" else f"{kind}FeatureExtractor"
    return {
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "dynamic_hd": 36,
        "feature_extractor_type": extractor,
        "image_processor_type": f"{kind}ImageProcessor",
        "processor_class": f"{kind}Processor",
    }


def generation_config(size: NetworkSize) -> dict[str, Any]:
    """Return `generation_config.json`."""
    begin, end = size.token_id(199999), size.token_id(200020)
    return {"bos_token_id": begin, "eos_token_id": [end, begin], "pad_token_id": begin}
