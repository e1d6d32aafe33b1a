"""The layouts of a checkpoint: file names, tensor renames and the native configuration.

original  microsoft/Phi-4-multimodal-instruct: tensor names of Microsoft's code
native    tensor names of transformers, with vision; the speech LoRA in a folder next to the weights
stripped  tensor names of transformers, without vision: an export of this program
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from phi4audio_cli.errors import CheckpointError

INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")

ADAPTER_FOLDER = "speech-lora"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

Layout = Literal["original", "native", "stripped"]

TIED_HEAD = "lm_head.weight"
"""The output head; by default it shares the weights of the embedding."""

_VISION_PATTERN = re.compile(
    r"""
    \.image_embed\.                              # tower and projections, both layouts
    | \.(?:up|down)_proj_for_vision_speech\.     # native
    | \.audio_projection\.vision\.               # the same, original
    | \.lora_[AB]\.vision\.                      # original
    """,
    re.VERBOSE,
)
_SPEECH_LORA_PATTERN = re.compile(r"\.lora_[AB]\.speech\.weight$")

_ENCODER_BLOCK = r"(\.embed_tokens_extend\.audio_embed\.encoder\.encoders\.\d+)"
_ORIGINAL_TO_NATIVE = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            _ENCODER_BLOCK + r"\.feed_forward_(in|out)\.net\.0\.linear\.",
            r"\1.feed_forward_\2.gate_up_proj.",
        ),
        (_ENCODER_BLOCK + r"\.feed_forward_(in|out)\.net\.2\.", r"\1.feed_forward_\2.down_proj."),
        (_ENCODER_BLOCK + r"\.self_attn\.linear_([qkv])\.", r"\1.self_attn.\2_proj."),
        (_ENCODER_BLOCK + r"\.self_attn\.linear_out\.", r"\1.self_attn.o_proj."),
        (r"\.audio_embed\.audio_projection\.speech\.0\.", ".audio_embed.up_proj_for_speech."),
        (r"\.audio_embed\.audio_projection\.speech\.2\.", ".audio_embed.down_proj_for_speech."),
        (r"\.base_layer\.", "."),
    )
)


def detect_layout(config: Mapping[str, Any], names: Iterable[str], where: str) -> Layout:
    """Return the layout of a checkpoint.

    Args:
        config: Its `config.json`.
        names: The stored names of its tensors.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: The checkpoint is of another model.
    """
    kind = config.get("model_type")
    if kind == "phi4mm":
        return "original"
    if kind != "phi4_multimodal":
        raise CheckpointError(
            f"its config has the model_type {kind!r}, which is not a Phi-4-multimodal model",
            where,
            "name a phi4mm or phi4_multimodal checkpoint",
        )
    return "native" if any(map(is_vision_tensor, names)) else "stripped"


def is_vision_tensor(name: str) -> bool:
    """Return whether a stored tensor, of any layout, serves only vision."""
    return _VISION_PATTERN.search(name) is not None


def is_speech_lora_tensor(name: str) -> bool:
    """Return whether a stored tensor is a factor of the speech LoRA in the original layout."""
    return _SPEECH_LORA_PATTERN.search(name) is not None


def native_name(name: str) -> str:
    """Return the name of a stored tensor in transformers' class; idempotent."""
    for pattern, replacement in _ORIGINAL_TO_NATIVE:
        name = pattern.sub(replacement, name)
    return name


EXPORT_KEY = "phi4audio"
"""Key of `config.json` under which an export records the state of its speech LoRA."""

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

_ORIGINAL_ONLY_KEYS = (
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
_ORIGINAL_ONLY_AUDIO_KEYS = (
    "activation_checkpointing",
    "cnn_layer_norm",
    "encoder_embedding_config",
    "input_layer",
)
_AUDIO_KEY_RENAMES = {
    "attention_dim": "hidden_size",
    "attention_heads": "num_attention_heads",
    "linear_units": "intermediate_size",
    "depthwise_seperable_out_channel": "depthwise_separable_out_channel",
}


def native_config(config: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    """Return the configuration for `Phi4MultimodalConfig(**config)`.

    Args:
        config: The checkpoint's `config.json`; it is not changed.
        layout: Its layout.
        where: The file, for the message.

    Raises:
        CheckpointError: An original configuration lacks a key that the native one needs.
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


def exported_lora_state(config: Mapping[str, Any]) -> str | None:
    """Return the state that an export records: merged, kept or dropped; None: not recorded."""
    mark = config.get(EXPORT_KEY)
    return mark.get("speech_lora") if isinstance(mark, dict) else None


def _from_original(config: dict[str, Any]) -> dict[str, Any]:
    native = {key: value for key, value in config.items() if key not in _ORIGINAL_ONLY_KEYS}
    native["audio_config"] = _native_audio_config(
        config["audio_processor"]["config"], config["embd_layer"]["audio_embd_layer"]
    )
    return native


def _native_audio_config(encoder: dict[str, Any], embedding: Mapping[str, Any]) -> dict[str, Any]:
    audio = {
        _AUDIO_KEY_RENAMES.get(key, key): value
        for key, value in encoder.items()
        if key not in _ORIGINAL_ONLY_AUDIO_KEYS
    }
    audio["nemo_conv_channels"] = audio.pop("nemo_conv_settings")["conv_channels"]
    bias = audio.pop("relative_attention_bias_args")
    audio["bias_max_distance"] = bias["t5_bias_max_distance"]
    audio["bias_symmetric"] = bias.get("t5_bias_symmetric", False)
    audio["downsample_rate"] = embedding.get("downsample_rate", 1)
    audio["model_type"] = "phi4_multimodal_audio"
    return audio
