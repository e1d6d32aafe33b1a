"""A block of the encoder: clips end to end in one row, so that none is padded.

Everything but attention and the causal convolution looks at one frame at a time; those two go
through the clips' stretches of the row, one by one. A padded batch is one stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioAttention,
    Phi4MultimodalAudioConformerEncoderLayer,
    Phi4MultimodalAudioConvModule,
    simple_eager_attention_forward,
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames that attend to each other."""

    start: int
    end: int
    bias: torch.Tensor
    """Added to the scores, shape (1 or rows, heads, frames, frames)."""


class ConformerLayer(Phi4MultimodalAudioConformerEncoderLayer):  # type: ignore[misc]
    """transformers' block with its tensors and its sums."""

    def forward(self, hidden: torch.Tensor, stretches: Sequence[Stretch]) -> torch.Tensor:
        """Go through the block.

        Args:
            hidden: Shape (rows, frames, width).
            stretches: They cover all frames, in order.
        """
        hidden = hidden + 0.5 * self.feed_forward_in(hidden)
        hidden = hidden + attend(self.self_attn, self.layer_norm_att(hidden), stretches)
        hidden = hidden + convolve(self.conv, hidden, stretches)
        hidden = hidden + 0.5 * self.feed_forward_out(hidden)
        done: torch.Tensor = self.layer_norm(hidden)
        return done


def attend(
    attention: Phi4MultimodalAudioAttention, hidden: torch.Tensor, stretches: Sequence[Stretch]
) -> torch.Tensor:
    """Let each frame of (rows, frames, width) look at those of its stretch."""
    query, key, value = (
        project(hidden).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    look = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation, simple_eager_attention_forward
    )
    seen = [
        look(
            attention,
            *(each[:, :, one.start : one.end] for each in (query, key, value)),
            one.bias,
            scaling=attention.scaling,
        )[0]
        for one in stretches
    ]
    mixed: torch.Tensor = attention.o_proj(_join(seen).flatten(2))
    return mixed


def convolve(
    conv: Phi4MultimodalAudioConvModule, hidden: torch.Tensor, stretches: Sequence[Stretch]
) -> torch.Tensor:
    """Let each frame of (rows, frames, width) hear the few before it in its stretch."""
    gated = _pointwise(conv.glu.ext_pw_conv_1d, conv.layer_norm(hidden))
    values, gates = gated.chunk(2, dim=-1)
    gates = conv.glu.glu_act(gates + conv.glu.b2[..., 0])
    hidden = (values + conv.glu.b1[..., 0]) * gates
    depthwise = conv.dw_sep_conv_1d.dw_conv
    heard = [_causal(depthwise, hidden[:, one.start : one.end]) for one in stretches]
    hidden = conv.act(_pointwise(conv.dw_sep_conv_1d.pw_conv, _join(heard)))
    return _pointwise(conv.ext_pw_conv_1d, hidden)


def _pointwise(layer: nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
    """Convolve over one frame, which is a matrix product: (rows, frames, width) as it lies."""
    return functional.linear(hidden, layer.weight[:, :, 0], layer.bias)


def _causal(layer: nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
    """Convolve channel by channel, silence before the first frame: (rows, frames, width)."""
    reach = layer.kernel_size[0] - 1
    padded = functional.pad(hidden, (0, 0, reach, 0))
    return functional.conv1d(
        padded.transpose(1, 2), layer.weight, layer.bias, groups=layer.groups
    ).transpose(1, 2)


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
