"""Attention over prompts that lie end to end in one row, none of which sees another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

APART = "phi4audio_apart"
"""Under this name transformers' layers find it."""


def attend_apart(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None = None,
    *,
    lengths: Sequence[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Let each position see those before it in its own prompt.

    Args:
        module: The layer's attention.
        query: Shape (1, heads, positions, head width).
        key: Shape (1, key/value heads, positions, head width); `value` likewise.
        value: As `key`.
        attention_mask: None; the lengths say it all.
        lengths: Positions of each prompt, in order, together all of them.
        scaling: Of the scores.

    Returns:
        Shape (1, positions, heads, head width); no weights.
    """
    parts = (torch.split(each, list(lengths), dim=2) for each in (query, key, value))
    seen = [
        sdpa_attention_forward(module, *one, None, scaling=scaling, is_causal=True)[0]
        for one in zip(*parts, strict=True)
    ]
    return torch.cat(seen, dim=1), None


ALL_ATTENTION_FUNCTIONS.register(APART, attend_apart)
