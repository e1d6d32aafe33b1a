"""The strided convolutions before the encoder's blocks: 8 feature frames to 1, exact in batches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioNemoConvSubsampling,
)

SUBSAMPLING = 8
"""Feature frames to an encoder frame."""

BLOCK_FRAMES = 1000
"""Encoder frames, of all rows together, that a GPU subsamples at once: the first layer's output
for them is 0.33 GB in bfloat16 (1024 channels at half the feature rate), and is there twice. All
at once would take 15 GB for 30 minutes."""

CACHED_CHANNELS = 32_768
"""On a CPU, frames times channels at once: the first layer's output is 20 MB in float32, which
stays in the cache until the next layer has read it."""


def zero_beyond(hidden: torch.Tensor, lengths: torch.Tensor | None, dim: int) -> torch.Tensor:
    """Set what lies past each row's length to 0.

    Args:
        hidden: Shape (rows, ...), with time at `dim`.
        lengths: Shape (rows,); None where no row is padded.
        dim: The time dimension.
    """
    if lengths is None:
        return hidden
    shape = [1] * hidden.dim()
    shape[dim] = hidden.shape[dim]
    positions = torch.arange(hidden.shape[dim], device=hidden.device).view(shape)
    rows = lengths.view([-1] + [1] * (hidden.dim() - 1))
    return hidden.masked_fill(positions >= rows, 0)


class MaskedSubsampling(Phi4MultimodalAudioNemoConvSubsampling):  # type: ignore[misc]
    """Strided convolutions, 8 to 1 in time, that never see a neighbour's padding."""

    def forward(
        self, hidden_states: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Subsample features; many in blocks, since the first layer takes much memory.

        Args:
            hidden_states: Normalised log-mel features, shape (rows, frames, mel bands).
            lengths: Real frames of each row; None where no row is padded.

        Returns:
            Shape (rows, ceil(frames / 8), hidden), and the new lengths.
        """
        in_products = hidden_states.device.type == "cpu" and lengths is None
        step = SUBSAMPLING * self._block_frames(len(hidden_states), in_products)
        blocks = []
        for start in range(0, hidden_states.shape[1], step):
            # An output frame sees 7 features before its own and none after them, so one frame
            # more on the left makes the block's first frame what it is without blocks.
            first = max(0, start - SUBSAMPLING)
            piece = hidden_states[:, first : start + step]
            if in_products:
                block = self.products(piece)
            else:
                within = None if lengths is None else (lengths - first).clamp(min=0)
                block = self.convolutions(piece, within)
            blocks.append(block[:, (start - first) // SUBSAMPLING :])
        frames = None if lengths is None else -(-lengths // SUBSAMPLING)
        return self.out(blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)), frames

    def _block_frames(self, rows: int, in_products: bool) -> int:
        together = CACHED_CHANNELS // self.conv[0].out_channels if in_products else BLOCK_FRAMES
        return max(SUBSAMPLING, together // rows)

    def convolutions(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Subsample rows of different lengths.

        Args:
            features: Shape (rows, frames, mel bands).
            lengths: Real frames of each row; None where no row is padded.

        Returns:
            Shape (rows, ceil(frames / 8), channels * bands).
        """
        hidden = zero_beyond(features, lengths, dim=1).unsqueeze(1)
        for layer in self.conv:
            hidden = layer(hidden)
            if isinstance(layer, nn.Conv2d):
                if layer.stride[0] == 2 and lengths is not None:
                    lengths = (lengths + 1) // 2
            else:
                hidden = zero_beyond(hidden, lengths, dim=2)
        return hidden.transpose(1, 2).flatten(2)

    def products(self, features: torch.Tensor) -> torch.Tensor:
        """Subsample rows of one length: the same sums, laid out for a CPU.

        With channels last, all but the depthwise layers are plain matrix products, and nothing is
        rearranged between two layers.

        Args:
            features: Shape (rows, frames, mel bands).

        Returns:
            Shape (rows, ceil(frames / 8), channels * bands).
        """
        first, activation, *rest = self.conv
        hidden = _activate(_one_channel(features, first), activation)
        for depthwise, pointwise, activation in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            hidden = _channels_last(hidden, depthwise)
            hidden = functional.linear(hidden, pointwise.weight[:, :, 0, 0], pointwise.bias)
            hidden = _activate(hidden, activation)
        return hidden.transpose(2, 3).flatten(2)


def _activate(hidden: torch.Tensor, activation: nn.Module) -> torch.Tensor:
    """Apply an activation, in place where it can be."""
    if isinstance(activation, nn.ReLU):
        return hidden.relu_()
    activated: torch.Tensor = activation(hidden)
    return activated


def _one_channel(features: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Convolve (rows, frames, bands), 3 x 3 by steps of 2, to (rows, frames, bands, channels)."""
    padded = functional.pad(features, (1, 1, 1, 1))
    patches = padded.unfold(1, 3, 2).unfold(2, 3, 2).flatten(3)
    # The bias as a tenth weight of a constant 1: added apart it would cost a pass more.
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    weight = torch.cat([layer.weight.flatten(1), bias[:, None]], dim=1)
    return functional.linear(functional.pad(patches, (0, 1), value=1.0), weight)


def _channels_last(hidden: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Convolve (rows, frames, bands, channels) without a copy."""
    weight = layer.weight.contiguous(memory_format=torch.channels_last)
    convolved = functional.conv2d(
        hidden.permute(0, 3, 1, 2), weight, layer.bias, layer.stride, layer.padding, 1, layer.groups
    )
    return convolved.permute(0, 2, 3, 1)
