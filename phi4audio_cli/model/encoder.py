"""The audio encoder, exact in batches.

transformers' own encoder lets a clip hear the padding that a longer neighbour in its batch forces
on it: the attention mask is added as 0 and 1 instead of minus infinity and 0, and the strided
convolutions carry the padding into the last real frames. Here padding has no influence: each clip
gets the embeddings it gets alone. A GPU works on padded rows, masked; a CPU on no padding at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from transformers import Phi4MultimodalAudioConfig
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAudioMeanVarianceNormLayer,
    Phi4MultimodalAudioModel,
    Phi4MultimodalAudioPreTrainedModel,
    Phi4MultimodalAudioRelativeAttentionBias,
)

from phi4audio_cli.model.conformer import ConformerLayer, Stretch
from phi4audio_cli.model.subsampling import SUBSAMPLING, MaskedSubsampling, zero_beyond

WINDOW_FRAMES = 500
"""Encoder frames of 80 ms that attend to each other: 40 s. Longer audio is folded into windows."""

PACK_FRAMES = WINDOW_FRAMES
"""Frames of short clips that a CPU lays end to end: more are no faster, and take memory."""


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


def packs(windows: Sequence[torch.Tensor], most: int) -> Iterator[list[torch.Tensor]]:
    """Group windows, each of shape (frames, width), to at most `most` frames, but at least one."""
    pack: list[torch.Tensor] = []
    for window in windows:
        if pack and sum(map(len, pack)) + len(window) > most:
            yield pack
            pack = []
        pack.append(window)
    if pack:
        yield pack


class AudioEncoder(Phi4MultimodalAudioModel):  # type: ignore[misc]
    """Phi-4's conformer encoder, with the tensors of transformers' class and exact batches."""

    def __init__(self, config: Phi4MultimodalAudioConfig) -> None:
        if config.chunk_size > 0:
            raise ValueError(f"streaming encoders (chunk_size {config.chunk_size}) are not built")
        Phi4MultimodalAudioPreTrainedModel.__init__(self, config)
        self.encoder_embedding = Phi4MultimodalAudioMeanVarianceNormLayer(config)
        self.embed = MaskedSubsampling(config)
        self.relative_attention_bias_layer = Phi4MultimodalAudioRelativeAttentionBias(config)
        self.encoders = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_blocks))
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
            Shape (rows, ceil(frames / 8), hidden); what lies past a row's end means nothing.
        """
        if hidden_states.device.type != "cpu":
            return self.encode_padded(hidden_states, mask)
        total = hidden_states.shape[1]
        lengths = [total] * len(hidden_states) if mask is None else mask.sum(dim=1).tolist()
        clips = [row[:length] for row, length in zip(hidden_states, lengths, strict=True)]
        encoded = hidden_states.new_zeros(len(clips), -(-total // SUBSAMPLING), self.width)
        for row, clip in zip(encoded, self.encode_clips(clips), strict=True):
            row[: len(clip)] = clip
        return encoded

    @property
    def width(self) -> int:
        """Size of an embedding."""
        width: int = self.config.hidden_size
        return width

    def encode_padded(self, features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Encode rows padded to one length, at once: what a GPU does best; see `forward`."""
        lengths = None if mask is None else mask.sum(dim=1)
        hidden, frames = self.embed(self.encoder_embedding(features), lengths)
        rows, total, width = hidden.shape
        folded = total > WINDOW_FRAMES
        if folded:
            hidden = fold(zero_beyond(hidden, frames, dim=1))
        bias = self._bias(hidden.shape[1])
        if frames is not None:
            keep = attended(frames, total, folded)[:, None, None, :]
            bias = torch.where(keep, bias, torch.finfo(bias.dtype).min)
        hidden = self._blocks(hidden, [Stretch(0, hidden.shape[1], bias)])
        return hidden.reshape(rows, -1, width)[:, :total]

    def encode_clips(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Encode clips without padding, short ones end to end: what a CPU does best.

        Args:
            clips: Log-mel features, each of shape (frames, mel bands).

        Returns:
            For each its embeddings, shape (ceil(frames / 8), hidden).
        """
        short = [self.embed(self.encoder_embedding(clip[None]))[0] for clip in clips]
        folded = [fold(one) if one.shape[1] > WINDOW_FRAMES else one for one in short]
        windows = [window for one in folded for window in one]
        bias = self._bias(max(map(len, windows), default=0))
        encoded = iter(
            [each for pack in packs(windows, PACK_FRAMES) for each in self._encode(pack, bias)]
        )
        rows = [torch.cat([next(encoded) for _ in one]) for one in folded]
        return [row[: one.shape[1]] for row, one in zip(rows, short, strict=True)]

    def _encode(self, pack: Sequence[torch.Tensor], bias: torch.Tensor) -> Iterator[torch.Tensor]:
        """Encode windows, each of shape (frames, hidden), end to end."""
        stretches = []
        start = 0
        for window in pack:
            length = len(window)
            stretches.append(Stretch(start, start + length, bias[:, :, :length, :length]))
            start += length
        hidden = self._blocks(torch.cat(list(pack))[None], stretches)[0]
        return iter(torch.split(hidden, [len(window) for window in pack]))

    def _blocks(self, hidden: torch.Tensor, stretches: Sequence[Stretch]) -> torch.Tensor:
        for layer in self.encoders:
            hidden = layer(hidden, stretches)
        return hidden

    def _bias(self, frames: int) -> torch.Tensor:
        """Compute what relative positions add to the scores, shape (1, heads, frames, frames)."""
        like = self.relative_attention_bias_layer.bias_values.weight.new_empty(1, frames, 0)
        # As it comes, every layer would copy it.
        bias: torch.Tensor = self.relative_attention_bias_layer(like).contiguous()
        return bias
