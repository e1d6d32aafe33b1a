"""A checkpoint's configuration in transformers' native form, vision reduced to a stub."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from phi4audio_cli.checkpoint.layout import Layout
from phi4audio_cli.errors import CheckpointError

MARK = "phi4audio"
"""Key of `config.json` under which an export says what became of the speech LoRA."""

VISION_STUB: Mapping[str, Any] = {
    "model_type": "phi4_multimodal_vision",
    "hidden_size": 1,
    "intermediate_size": 1,
    "num_hidden_layers": 0,
    "num_attention_heads": 1,
    "num_channels": 1,
    "image_size": 1,
    "patch_size": 1,
    "crop_size": 1,
}
"""The smallest vision tower that transformers' class can still build."""

_ONLY_ORIGINAL = (
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "audio_processor",
    "auto_map",
    "embd_layer",
    "img_processor",
    "speech_lora",
    "transformers_version",
    "vision_lora",
)
_ONLY_ORIGINAL_AUDIO = (
    "activation_checkpointing",
    "cnn_layer_norm",
    "encoder_embedding_config",
    "input_layer",
)
_AUDIO_RENAMES = {
    "attention_dim": "hidden_size",
    "attention_heads": "num_attention_heads",
    "linear_units": "intermediate_size",
    "depthwise_seperable_out_channel": "depthwise_separable_out_channel",
}


def native_config(config: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    """The configuration `Phi4MultimodalConfig(**config)` takes.

    Args:
        config: The checkpoint's `config.json`; it is left as it is.
        layout: Its layout.
        where: The file, for the message.

    Raises:
        CheckpointError: An original configuration lacks what the native one needs.
    """
    native = copy.deepcopy(dict(config))
    if layout == "original":
        try:
            native = _from_original(native)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"lacks {error} in its original layout", where) from error
    if dtype := native.pop("torch_dtype", None):
        native.setdefault("dtype", dtype)
    image_token = (native.get("vision_config") or {}).get("image_token_id")
    native["vision_config"] = dict(VISION_STUB)
    if image_token is not None:
        native["vision_config"]["image_token_id"] = image_token
    native["architectures"] = ["Phi4MultimodalForCausalLM"]
    native["model_type"] = "phi4_multimodal"
    return native


def speech_lora_mark(config: Mapping[str, Any]) -> str | None:
    """What an export says became of its speech LoRA: merged, kept, dropped; None elsewhere."""
    mark = config.get(MARK)
    return mark.get("speech_lora") if isinstance(mark, dict) else None


def _from_original(config: dict[str, Any]) -> dict[str, Any]:
    native = {key: value for key, value in config.items() if key not in _ONLY_ORIGINAL}
    native["audio_config"] = _audio_config(
        config["audio_processor"]["config"], config["embd_layer"]["audio_embd_layer"]
    )
    return native


def _audio_config(encoder: dict[str, Any], embedding: Mapping[str, Any]) -> dict[str, Any]:
    audio = {
        _AUDIO_RENAMES.get(key, key): value
        for key, value in encoder.items()
        if key not in _ONLY_ORIGINAL_AUDIO
    }
    audio["nemo_conv_channels"] = audio.pop("nemo_conv_settings")["conv_channels"]
    bias = audio.pop("relative_attention_bias_args")
    audio["bias_max_distance"] = bias["t5_bias_max_distance"]
    audio["bias_symmetric"] = bias.get("t5_bias_symmetric", False)
    audio["downsample_rate"] = embedding.get("downsample_rate", 1)
    audio["model_type"] = "phi4_multimodal_audio"
    return audio
