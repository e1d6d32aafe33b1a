"""The strided convolutions before the encoder's blocks: 8 feature frames to 1, exact in batches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from phi4audio_cli.network.config import AudioConfig
from phi4audio_cli.network.cpu_kernels import NARROW_INPUTS, Linear, fill, filled_rows, multiply

SUBSAMPLING = 8
"""Feature frames to an encoder frame."""

BLOCK_FRAMES = 1000
"""Encoder frames, of all clips together, that a GPU subsamples at once: the first layer's output
for them is 0.33 GB in bfloat16 (1024 channels at half the feature rate), and is there twice. All
at once would take 15 GB for 30 minutes."""

CACHED_CHANNELS = 32_768
"""On a CPU, frames times channels at once: the first layer's output is 20 MB in float32, which
stays in the cache until the next layer has read it."""


def mask_time(hidden: torch.Tensor, lengths: torch.Tensor | None, dim: int) -> torch.Tensor:
    """Set positions beyond each clip's length to 0.

    Args:
        hidden: Shape (clips, ...), with time at `dim`.
        lengths: Shape (clips,); None where no clip is padded.
        dim: The time dimension.
    """
    if lengths is None:
        return hidden
    shape = [1] * hidden.dim()
    shape[dim] = hidden.shape[dim]
    positions = torch.arange(hidden.shape[dim], device=hidden.device).view(shape)
    ends = lengths.view([-1] + [1] * (hidden.dim() - 1))
    return hidden.masked_fill(positions >= ends, 0)


class Subsampling(nn.Module):
    """Three strided convolutions that never see another clip's padding, and a projection."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.nemo_conv_channels
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU()]
        for _ in range(2):
            depthwise = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width)
            layers += [depthwise, nn.Conv2d(width, width, 1), nn.ReLU()]
        self.conv = nn.Sequential(*layers)
        self.out = Linear(width * config.nemo_final_size, config.hidden_size)
        self.channels = width

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Subsample features; many in blocks, since the first layer takes much memory.

        Args:
            features: Normalised log-mel features, shape (clips, frames, mel bands).
            lengths: Real frames of each clip; None where no clip is padded.

        Returns:
            Shape (clips, ceil(frames / 8), width).
        """
        on_cpu = features.device.type == "cpu" and lengths is None
        step = SUBSAMPLING * self._block_frames(len(features), on_cpu)
        blocks = []
        for start in range(0, features.shape[1], step):
            # An output frame sees 7 features before its own and none after them, so one frame
            # more on the left makes the block's first frame what it is without blocks.
            first = max(0, start - SUBSAMPLING)
            piece = features[:, first : start + step]
            if on_cpu:
                block = self.channels_last(piece)
            else:
                block = self.masked(piece, None if lengths is None else (lengths - first).clamp(0))
            blocks.append(block[:, (start - first) // SUBSAMPLING :])
        hidden = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
        frames = hidden.shape[1]
        if on_cpu and len(hidden) == 1:
            hidden = fill(hidden, filled_rows(frames, hidden.shape[2]))
        result: torch.Tensor = self.out(hidden)
        return result[:, :frames]

    def _block_frames(self, clips: int, on_cpu: bool) -> int:
        at_once = CACHED_CHANNELS // self.channels if on_cpu else BLOCK_FRAMES
        return max(SUBSAMPLING, at_once // clips)

    def masked(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Convolve clips of different lengths.

        Args:
            features: Shape (clips, frames, mel bands).
            lengths: Real frames of each clip; None where no clip is padded.

        Returns:
            Shape (clips, ceil(frames / 8), channels * bands).
        """
        hidden = mask_time(features, lengths, dim=1).unsqueeze(1)
        for layer in self.conv:
            hidden = layer(hidden)
            if isinstance(layer, nn.Conv2d):
                if layer.stride[0] == 2 and lengths is not None:
                    lengths = (lengths + 1) // 2
            else:
                hidden = mask_time(hidden, lengths, dim=2)
        return hidden.transpose(1, 2).flatten(2)

    def channels_last(self, features: torch.Tensor) -> torch.Tensor:
        """Convolve clips of one length: the same sums, laid out for a CPU.

        With channels last, all but the depthwise layers are plain matrix products, and nothing is
        rearranged between two layers.

        Args:
            features: Shape (clips, frames, mel bands).

        Returns:
            Shape (clips, ceil(frames / 8), channels * bands).
        """
        first, *rest = [layer for layer in self.conv if isinstance(layer, nn.Conv2d)]
        # oneDNN has the same bits with any number of threads, but a kernel to compile a length.
        product = multiply if self.channels >= NARROW_INPUTS else functional.linear
        hidden = product(*_one_channel(features, first)).relu_()
        for depthwise, pointwise in zip(rest[::2], rest[1::2], strict=True):
            hidden = _depthwise(hidden, depthwise)
            hidden = product(hidden, pointwise.weight[:, :, 0, 0], pointwise.bias).relu_()
        return hidden.transpose(2, 3).flatten(2)


def _one_channel(features: torch.Tensor, layer: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay out (clips, frames, bands) for a convolution, 3 x 3 by steps of 2, as a product.

    Returns:
        Rows, (clips, frames, bands, 10), and weight, (channels, 10).
    """
    padded = functional.pad(features, (1, 1, 1, 1))
    patches = padded.unfold(1, 3, 2).unfold(2, 3, 2).flatten(3)
    # The bias as a tenth weight of a constant 1: added apart it would cost a pass more.
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    weight = torch.cat([layer.weight.flatten(1), bias[:, None]], dim=1)
    return functional.pad(patches, (0, 1), value=1.0), weight


def _depthwise(hidden: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Convolve (clips, frames, bands, channels), channel by channel, without a copy."""
    weight = layer.weight.contiguous(memory_format=torch.channels_last)
    convolved = functional.conv2d(
        hidden.permute(0, 3, 1, 2), weight, layer.bias, layer.stride, layer.padding, 1, layer.groups
    )
    return convolved.permute(0, 2, 3, 1)
