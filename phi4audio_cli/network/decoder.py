"""A layer of the decoder: norms, rotary embedding, attention and MLP.

Parameters have the names of the native checkpoint layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from phi4audio_cli.network.attention import Batch, Outputs
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.cpu_kernels import Linear, silu

Rope = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, each of shape (rows, n, rotated channels)."""

Observe = Callable[[int, torch.Tensor], None]
"""Takes a layer's index and the rotated queries of a sequence, (heads, n, head width)."""


class RMSNorm(nn.Module):
    """Root mean square norm (https://arxiv.org/abs/1910.07467), computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        wide = hidden.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(hidden.dtype)


class RotaryEmbedding:
    """Rotary position embedding, plain or LongRoPE (https://arxiv.org/abs/2402.13753).

    Beyond `short_context` positions, all positions of a sequence count with other frequencies.
    """

    def __init__(self, config: Config) -> None:
        self.config = config.rope
        self.width = int(config.head_dim * config.rope.partial_rotary_factor)
        self.scale = _attention_factor(config)
        self._frequencies: dict[tuple[bool, torch.device], torch.Tensor] = {}

    def __call__(self, positions: torch.Tensor, length: int, dtype: torch.dtype) -> Rope:
        """Return the rotations of some positions.

        Args:
            positions: Shape (rows, n).
            length: Of the longest sequence; it selects the frequencies.
            dtype: Of the result.
        """
        switch = self.config.short_context
        inverse = self._inverse(switch is not None and length > switch, positions.device)
        angles = positions[..., None].float() * inverse
        # Cosines of float64 have the same float32 value however a library divides the work.
        wide = angles if angles.device.type == "mps" else angles.double()
        cos, sin = ((part * self.scale).to(dtype) for part in (wide.cos(), wide.sin()))
        return torch.cat([cos, cos], dim=-1), torch.cat([sin, sin], dim=-1)

    def _inverse(self, long: bool, device: torch.device) -> torch.Tensor:
        """Return the frequencies, shape (rotated channels / 2,), computed once a device."""
        found = self._frequencies.get((long, device))
        if found is None:
            exponents = torch.arange(0, self.width, 2, device="cpu").float() / self.width
            powers = self.config.theta**exponents
            factors = self.config.long_factor if long else self.config.short_factor
            if factors:
                powers = torch.tensor(factors, dtype=torch.float32, device="cpu") * powers
            found = (1.0 / powers).to(device)
            self._frequencies[long, device] = found
        return found


def _attention_factor(config: Config) -> float:
    """Return the scale of LongRoPE's embedding; 1 for a plain one."""
    rope = config.rope
    if rope.short_context is None:
        return 1.0
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.factor <= 1:
        return 1.0
    return math.sqrt(1 + math.log(rope.factor) / math.log(rope.short_context))


def rotate(hidden: torch.Tensor, rope: Rope) -> torch.Tensor:
    """Apply rotary embeddings to the first channels of (rows, n, heads, head width)."""
    cos, sin = (part[:, :, None] for part in rope)
    width = cos.shape[-1]
    rotated, rest = hidden[..., :width], hidden[..., width:]
    left, right = rotated.chunk(2, dim=-1)
    rotated = rotated * cos + torch.cat([-right, left], dim=-1) * sin
    return torch.cat([rotated, rest], dim=-1)


class Attention(nn.Module):
    """Grouped-query attention with partial rotary embeddings."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = config.num_attention_heads
        self.key_value_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        width = self.heads * self.head_dim
        joined = width + 2 * self.key_value_heads * self.head_dim
        self.o_proj = Linear(width, config.hidden_size, bias=False)
        self.qkv_proj = Linear(config.hidden_size, joined, bias=False)

    def forward(
        self, hidden: torch.Tensor, rope: Rope, batch: Batch, observe: Observe | None = None
    ) -> torch.Tensor:
        """Attend with (rows, n, width), without `o_proj`: (rows, n, heads * head width)."""
        joined = self.qkv_proj(hidden).unflatten(-1, (-1, self.head_dim))
        rotated = rotate(joined[:, :, : -self.key_value_heads], rope)
        queries, keys = torch.split(rotated, [self.heads, self.key_value_heads], dim=2)
        values = joined[:, :, -self.key_value_heads :]
        attended = batch.attend(self.layer, queries, keys, values)
        if observe is not None:
            observe(self.layer, queries[0].transpose(0, 1))
        return attended.flatten(2)


class MLP(nn.Module):
    """Gated feed-forward network (SwiGLU)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (rows, n, width) to the same shape."""
        gate, up = self.gate_up_proj(hidden).chunk(2, dim=-1)
        mapped: torch.Tensor = self.down_proj(up * silu(gate))
        return mapped


class DecoderLayer(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden: torch.Tensor,
        rope: Rope,
        batch: Batch,
        outputs: Outputs | None = None,
        observe: Observe | None = None,
    ) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden: Shape (rows, n, width).
            rope: Rotations of the positions.
            batch: The sequences they belong to, and their KV cache.
            outputs: Which positions the result is wanted of; all leave their keys and values.
            observe: Called with the rotated queries.

        Returns:
            Shape (rows, n, width), or (outputs, 1, width).
        """
        attended = self.self_attn(self.input_layernorm(hidden), rope, batch, observe)
        if outputs is not None:
            hidden, attended = hidden[outputs][:, None], attended[outputs][:, None]
        hidden = hidden + self.self_attn.o_proj(attended)
        result: torch.Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return result
