"""The audio encoder, exact in batches.

transformers' own encoder lets a clip hear the padding that a longer neighbour in its batch forces
on it: the attention mask is added as 0 and 1 instead of minus infinity and 0, and the strided
convolutions carry the padding into the last real frames. Here padding has no influence: each clip
gets the embeddings it gets alone.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import Phi4MultimodalAudioConfig
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioConformerEncoderLayer,
    Phi4MultimodalAudioMeanVarianceNormLayer,
    Phi4MultimodalAudioModel,
    Phi4MultimodalAudioNemoConvSubsampling,
    Phi4MultimodalAudioPreTrainedModel,
    Phi4MultimodalAudioRelativeAttentionBias,
)

WINDOW_FRAMES = 500
"""Encoder frames of 80 ms that attend to each other: 40 s. Longer audio is folded into windows."""

SUBSAMPLING = 8
"""Feature frames to an encoder frame."""

BLOCK_FRAMES = 1000
"""Encoder frames that the subsampling makes at once. All at once would take 15 GB for 30 minutes
(1024 channels at half the feature rate, twice)."""


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
        """Subsample features; long ones in blocks, since the first layer takes much memory.

        Args:
            hidden_states: Normalised log-mel features, shape (rows, frames, mel bands).
            lengths: Real frames of each row; None where no row is padded.

        Returns:
            Shape (rows, ceil(frames / 8), hidden), and the new lengths.
        """
        total = hidden_states.shape[1]
        if total <= BLOCK_FRAMES * SUBSAMPLING:
            return self._subsample(hidden_states, lengths)
        blocks = []
        for start in range(0, total, BLOCK_FRAMES * SUBSAMPLING):
            # An output frame sees 7 features before its own and none after them, so one frame
            # more on the left makes the block's first frame what it is without blocks.
            first = max(0, start - SUBSAMPLING)
            piece = hidden_states[:, first : start + BLOCK_FRAMES * SUBSAMPLING]
            within = None if lengths is None else (lengths - first).clamp(min=0)
            block, _ = self._subsample(piece, within)
            blocks.append(block[:, (start - first) // SUBSAMPLING :])
        frames = None if lengths is None else -(-lengths // SUBSAMPLING)
        return torch.cat(blocks, dim=1), frames

    def _subsample(
        self, hidden_states: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        hidden = zero_beyond(hidden_states, lengths, dim=1).unsqueeze(1)
        for layer in self.conv:
            hidden = layer(hidden)
            if isinstance(layer, nn.Conv2d):
                if layer.stride[0] == 2 and lengths is not None:
                    lengths = (lengths + 1) // 2
            else:
                hidden = zero_beyond(hidden, lengths, dim=2)
        flat = hidden.transpose(1, 2).flatten(2)
        return self.out(flat), lengths


def fold(hidden: torch.Tensor) -> torch.Tensor:
    """Fold frames into windows: (rows, n, d) to (rows * windows, WINDOW_FRAMES, d), zero-filled."""
    rows, frames, width = hidden.shape
    filled = nn.functional.pad(hidden, (0, 0, 0, -frames % WINDOW_FRAMES))
    return filled.reshape(rows * (filled.shape[1] // WINDOW_FRAMES), WINDOW_FRAMES, width)


def attended(frames: torch.Tensor, total: int, folded: bool) -> torch.Tensor:
    """Say which positions a row attends to, exactly as it would alone.

    Alone, a clip of up to one window ends at its last frame; a longer one also attends to the
    zero frames that fill its last window, as the original code does.

    Args:
        frames: Real encoder frames of each row, shape (rows,).
        total: Encoder frames of the padded batch.
        folded: Whether the batch is folded into windows.

    Returns:
        Boolean, shape (rows, total), or (rows * windows, WINDOW_FRAMES) when folded.
    """
    filled = (frames + WINDOW_FRAMES - 1) // WINDOW_FRAMES * WINDOW_FRAMES
    ends = torch.where(frames > WINDOW_FRAMES, filled, frames)
    width = total + (-total % WINDOW_FRAMES if folded else 0)
    keep = torch.arange(width, device=frames.device) < ends[:, None]
    if not folded:
        return keep
    keep = keep.reshape(-1, WINDOW_FRAMES)
    # A window with nothing to attend to is thrown away later; open, it can't turn into NaN.
    return keep | ~keep.any(dim=1, keepdim=True)


class AudioEncoder(Phi4MultimodalAudioModel):  # type: ignore[misc]
    """Phi-4's conformer encoder, with the tensors of transformers' class and exact batches."""

    def __init__(self, config: Phi4MultimodalAudioConfig) -> None:
        if config.chunk_size > 0:
            raise ValueError(f"streaming encoders (chunk_size {config.chunk_size}) are not built")
        Phi4MultimodalAudioPreTrainedModel.__init__(self, config)
        self.encoder_embedding = Phi4MultimodalAudioMeanVarianceNormLayer(config)
        self.embed = MaskedSubsampling(config)
        self.relative_attention_bias_layer = Phi4MultimodalAudioRelativeAttentionBias(config)
        self.encoders = nn.ModuleList(
            Phi4MultimodalAudioConformerEncoderLayer(config) for _ in range(config.num_blocks)
        )
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self, hidden_states: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode features.

        Args:
            hidden_states: Log-mel features, shape (rows, frames, mel bands).
            mask: Boolean, shape (rows, frames), True on real frames; None where no row is padded.

        Returns:
            Shape (rows, ceil(frames / 8), hidden).
        """
        lengths = None if mask is None else mask.sum(dim=1)
        hidden, frames = self.embed(self.encoder_embedding(hidden_states), lengths)
        rows, total, width = hidden.shape
        folded = total > WINDOW_FRAMES
        if folded:
            hidden = fold(zero_beyond(hidden, frames, dim=1))
        bias = self.relative_attention_bias_layer(hidden)
        if frames is not None:
            keep = attended(frames, total, folded)[:, None, None, :]
            bias = torch.where(keep, bias, torch.finfo(bias.dtype).min)
        for layer in self.encoders:
            hidden = layer(hidden, bias)
        encoded: torch.Tensor = hidden.reshape(rows, -1, width)[:, :total]
        return encoded
