"""A conformer block of the audio encoder (https://arxiv.org/abs/2005.08100).

Clips are end to end in one row, so that none is padded. Everything but attention and the causal
convolution works on one frame at a time; those two go through the spans of the row one by one. A
padded batch is one span. Parameters have the names of the native checkpoint layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from phi4audio_cli.network.config import AudioConfig
from phi4audio_cli.network.cpu_kernels import Linear, Pointwise, silu


@dataclass(frozen=True, slots=True)
class Span:
    """Frames that attend to each other."""

    start: int
    end: int
    bias: torch.Tensor
    """Added to the scores, shape (1 or rows, heads, frames, frames)."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of a pass; they cover all frames, in order.

    Args:
        rows: Clips that are padded to one length, with spans for all; 1 where clips are end to end.
        spans: Of each row.
        filling: Frames behind the last span that are of no clip.
    """

    rows: int
    spans: Sequence[Span]
    filling: int = 0

    def map(self, function: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
        """Apply a function to each span, and join the results.

        Args:
            function: From a span and its frames of each tensor, (rows, frames, width), to the
                result for these frames, likewise.
            tensors: All of shape (..., n, width).

        Returns:
            Shape (..., n, width), zeros for the filling; always contiguous, so that the next
            product does not depend on the number of spans.
        """
        joined = [each.reshape(self.rows, -1, each.shape[-1]) for each in tensors]
        parts = [
            function(span, *(each[:, span.start : span.end] for each in joined))
            for span in self.spans
        ]
        if self.filling:
            parts.append(parts[0].new_zeros(self.rows, self.filling, parts[0].shape[-1]))
        result = parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, dim=1)
        return result.view(*tensors[0].shape[:-1], -1)


class FeedForward(nn.Module):
    """Gated feed-forward network after a norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size)
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (rows, frames, width) to the same shape."""
        up, gate = self.gate_up_proj(self.layer_norm(hidden)).chunk(2, dim=-1)
        mapped: torch.Tensor = self.down_proj(up * silu(gate))
        return mapped


class RelativeAttention(nn.Module):
    """Multi-head attention within spans, with a bias by relative position."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = Linear(config.hidden_size, config.hidden_size)
        self.k_proj = Linear(config.hidden_size, config.hidden_size)
        self.v_proj = Linear(config.hidden_size, config.hidden_size)
        self.o_proj = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor, spans: Spans) -> torch.Tensor:
        """Let each frame of (rows, frames, width) attend to those of its span."""
        projected = self.q_proj(hidden), self.k_proj(hidden), self.v_proj(hidden)
        mixed: torch.Tensor = self.o_proj(spans.map(self._attend, *projected))
        return mixed

    def _attend(self, span: Span, *projected: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            each.view(*each.shape[:2], -1, self.head_dim).transpose(1, 2) for each in projected
        )
        attended: torch.Tensor = functional.scaled_dot_product_attention(
            query, key, value, span.bias
        )
        return attended.transpose(1, 2).flatten(2)


class GatedPointwise(nn.Module):
    """A convolution over one frame with a gate (GLU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.b1 = nn.Parameter(torch.zeros(1, width, 1))
        self.b2 = nn.Parameter(torch.zeros(1, width, 1))
        self.ext_pw_conv_1d = Pointwise(width, 2 * width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (rows, frames, width) to the same shape."""
        values, gates = self.ext_pw_conv_1d(hidden).chunk(2, dim=-1)
        gated: torch.Tensor = (values + self.b1[..., 0]) * silu(gates + self.b2[..., 0])
        return gated


class SeparableConvolution(nn.Module):
    """A causal depthwise convolution within spans, and one over channels."""

    def __init__(self, width: int, wide: int, kernel_size: int) -> None:
        super().__init__()
        self.dw_conv = nn.Conv1d(width, wide, kernel_size, groups=width)
        self.pw_conv = Pointwise(wide, width)

    def forward(self, hidden: torch.Tensor, spans: Spans) -> torch.Tensor:
        """Map (rows, frames, width) to the same shape."""
        convolved: torch.Tensor = self.pw_conv(spans.map(self._causal, hidden))
        return convolved

    def _causal(self, span: Span, hidden: torch.Tensor) -> torch.Tensor:
        """Convolve each channel, with silence before the first frame."""
        layer = self.dw_conv
        padded = functional.pad(hidden, (0, 0, layer.kernel_size[0] - 1, 0))
        convolved = functional.conv1d(
            padded.transpose(1, 2), layer.weight, layer.bias, groups=layer.groups
        )
        return convolved.transpose(1, 2)


class CausalConvolution(nn.Module):
    """The convolution module of a block; a frame sees those before it in its span."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.hidden_size
        wide = width * config.depthwise_multiplier
        self.layer_norm = nn.LayerNorm(width)
        self.glu = GatedPointwise(width)
        self.dw_sep_conv_1d = SeparableConvolution(width, wide, config.kernel_size)
        self.ext_pw_conv_1d = Pointwise(width, width)

    def forward(self, hidden: torch.Tensor, spans: Spans) -> torch.Tensor:
        """Map (rows, frames, width) to the same shape."""
        gated = self.glu(self.layer_norm(hidden))
        convolved = self.dw_sep_conv_1d(gated, spans)
        mapped: torch.Tensor = self.ext_pw_conv_1d(silu(convolved))
        return mapped


class ConformerBlock(nn.Module):
    """Half a feed-forward network, attention, convolution, and the other half."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(config)
        self.self_attn = RelativeAttention(config)
        self.conv = CausalConvolution(config)
        self.feed_forward_out = FeedForward(config)
        self.layer_norm_att = nn.LayerNorm(config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, hidden: torch.Tensor, spans: Spans) -> torch.Tensor:
        """Run the block.

        Args:
            hidden: Shape (rows, frames, width).
            spans: Which frames attend to each other.
        """
        hidden = hidden + 0.5 * self.feed_forward_in(hidden)
        hidden = hidden + self.self_attn(self.layer_norm_att(hidden), spans)
        hidden = hidden + self.conv(hidden, spans)
        hidden = hidden + 0.5 * self.feed_forward_out(hidden)
        normed: torch.Tensor = self.layer_norm(hidden)
        return normed
