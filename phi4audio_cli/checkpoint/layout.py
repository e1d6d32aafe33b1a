"""The three layouts a checkpoint can have, told apart by config and names, and the renames.

original  microsoft/Phi-4-multimodal-instruct, names of Microsoft's own code
native    transformers' names, with vision; the speech LoRA in a folder beside the weights
stripped  transformers' names, without vision
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from phi4audio_cli.errors import CheckpointError

Layout = Literal["original", "native", "stripped"]

TIED = "lm_head.weight"
"""The output head, which shares the embedding's weights unless the config says otherwise."""

_VISION = re.compile(
    r"""
    \.image_embed\.                              # tower and projections, both layouts
    | \.(?:up|down)_proj_for_vision_speech\.     # native
    | \.audio_projection\.vision\.               # the same, original
    | \.lora_[AB]\.vision\.                      # original
    """,
    re.VERBOSE,
)
_SPEECH_LORA = re.compile(r"\.lora_[AB]\.speech\.weight$")

_BLOCK = r"(\.embed_tokens_extend\.audio_embed\.encoder\.encoders\.\d+)"
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            _BLOCK + r"\.feed_forward_(in|out)\.net\.0\.linear\.",
            r"\1.feed_forward_\2.gate_up_proj.",
        ),
        (_BLOCK + r"\.feed_forward_(in|out)\.net\.2\.", r"\1.feed_forward_\2.down_proj."),
        (_BLOCK + r"\.self_attn\.linear_([qkv])\.", r"\1.self_attn.\2_proj."),
        (_BLOCK + r"\.self_attn\.linear_out\.", r"\1.self_attn.o_proj."),
        (r"\.audio_embed\.audio_projection\.speech\.0\.", ".audio_embed.up_proj_for_speech."),
        (r"\.audio_embed\.audio_projection\.speech\.2\.", ".audio_embed.down_proj_for_speech."),
        (r"\.base_layer\.", "."),
    )
)


def detect(config: Mapping[str, Any], names: Iterable[str], where: str) -> Layout:
    """The layout of a checkpoint.

    Args:
        config: Its `config.json`.
        names: The names its weights are stored under.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: It is no Phi-4-multimodal checkpoint.
    """
    kind = config.get("model_type")
    if kind == "phi4mm":
        return "original"
    if kind != "phi4_multimodal":
        raise CheckpointError(
            f"its config says model_type {kind!r}, which is no Phi-4-multimodal model",
            where,
            "name a phi4mm or phi4_multimodal checkpoint",
        )
    return "native" if any(map(is_vision, names)) else "stripped"


def is_vision(name: str) -> bool:
    """Whether a stored tensor, of any layout, serves vision only."""
    return _VISION.search(name) is not None


def is_speech_lora(name: str) -> bool:
    """Whether a stored tensor is half of the speech LoRA, as the original layout stores it."""
    return _SPEECH_LORA.search(name) is not None


def native_name(name: str) -> str:
    """The name transformers' class gives to a tensor stored under `name`; idempotent."""
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name
