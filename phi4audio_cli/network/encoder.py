"""The audio encoder, exact in batches: a clip gets the embeddings that it gets alone.

A GPU works on padded clips: padding is masked additively and kept at zero through the strided
convolutions. A CPU works on no padding at all: clips are end to end (`conformer`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from phi4audio_cli.network.config import AudioConfig, Config
from phi4audio_cli.network.conformer import ConformerBlock, Span, Spans
from phi4audio_cli.network.cpu_kernels import (
    TILE_ROWS,
    Linear,
    fill,
    filled_rows,
    needs_tiles,
    to_tiles,
)
from phi4audio_cli.network.embedding import Embedding
from phi4audio_cli.network.subsampling import SUBSAMPLING, Subsampling, mask_time

WINDOW_FRAMES = 500
"""Encoder frames of 80 ms that attend to each other: 40 s. Longer audio is folded into windows."""

PACK_FRAMES = WINDOW_FRAMES
"""Frames of short clips that a CPU puts end to end: more are no faster, and take memory."""


class InputNorm(nn.Module):
    """Normalises features by the mean and deviation of the training data."""

    global_mean: torch.Tensor
    global_invstd: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("global_mean", torch.zeros(size))
        self.register_buffer("global_invstd", torch.ones(size))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise (clips, frames, mel bands)."""
        return (features - self.global_mean) * self.global_invstd


class PositionBias(nn.Module):
    """A bias for each head and relative position, up to a distance."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.most, self.symmetric = config.bias_max_distance, config.bias_symmetric
        count = self.most if self.symmetric else 2 * self.most
        self.bias_values = Embedding(count, config.num_attention_heads)

    def forward(self, frames: int) -> torch.Tensor:
        """Return the bias for a number of frames, shape (1, heads, frames, frames)."""
        at = torch.arange(frames, device=self.bias_values.weight.device)
        distance = (at - at[:, None]).clamp(-self.most, self.most - 1)
        index = distance.abs() if self.symmetric else distance + self.most
        # Contiguous: as it comes, every layer would copy it.
        bias: torch.Tensor = self.bias_values(index).permute(2, 0, 1)[None].contiguous()
        return bias


class AudioEncoder(nn.Module):
    """Subsampling and conformer blocks."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.widest_layer = config.widest_layer
        self.encoder_embedding = InputNorm(config.input_size)
        self.embed = Subsampling(config)
        self.relative_attention_bias_layer = PositionBias(config)
        self.encoders = nn.ModuleList(ConformerBlock(config) for _ in range(config.num_blocks))

    def forward(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Encode clips in the way that suits the device.

        Args:
            clips: Log-mel features, each of shape (frames, mel bands), on the device.

        Returns:
            For each its embeddings, shape (ceil(frames / 8), width).
        """
        if not clips:
            return []
        on_cpu = clips[0].device.type == "cpu"
        return self.encode_packed(clips) if on_cpu else self.encode_padded(clips)

    def encode_padded(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Encode clips padded to one length, at once; see `forward`."""
        features = nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
        counts = [len(clip) for clip in clips]
        # No mask, and so a faster attention, where no clip is padded.
        padded = min(counts) < max(counts)
        lengths = torch.tensor(counts, device=features.device) if padded else None
        hidden = self.embed(self.encoder_embedding(features), lengths)
        frames = None if lengths is None else -(-lengths // SUBSAMPLING)
        rows, total, width = hidden.shape
        folded = total > WINDOW_FRAMES
        if folded:
            hidden = fold_windows(mask_time(hidden, frames, dim=1))
        bias = self.relative_attention_bias_layer(hidden.shape[1])
        if frames is not None:
            mask = attention_mask(frames, total, folded)[:, None, None, :]
            bias = torch.where(mask, bias, torch.finfo(bias.dtype).min)
        spans = Spans(len(hidden), [Span(0, hidden.shape[1], bias)])
        hidden = self._blocks(hidden, spans)
        encoded = hidden.reshape(rows, -1, width)
        return [row[: -(-count // SUBSAMPLING)] for row, count in zip(encoded, counts, strict=True)]

    def encode_packed(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Encode clips without padding, short ones end to end; see `forward`."""
        embedded = [self.embed(self.encoder_embedding(clip[None]))[0] for clip in clips]
        folded = [
            fold_windows(each[None]) if len(each) > WINDOW_FRAMES else each[None]
            for each in embedded
        ]
        windows = [window for each in folded for window in each]
        bias = self.relative_attention_bias_layer(max(map(len, windows)))
        tiled = needs_tiles(clips[0].device, clips[0].dtype, self.widest_layer)
        encoded: dict[int, torch.Tensor] = {}
        for group in pack([len(window) for window in windows], PACK_FRAMES, tiled):
            results = self._encode([windows[index] for index in group], bias, tiled)
            encoded.update(zip(group, results, strict=True))
        rows = iter(encoded[index] for index in range(len(windows)))
        unfolded = [torch.cat([next(rows) for _ in each]) for each in folded]
        return [row[: len(each)] for row, each in zip(unfolded, embedded, strict=True)]

    def _encode(
        self, windows: Sequence[torch.Tensor], bias: torch.Tensor, tiled: bool
    ) -> Sequence[torch.Tensor]:
        """Encode windows, each of shape (frames, width), end to end, short ones in tiles."""
        lengths = [len(window) for window in windows]
        joined = torch.cat(list(windows))
        if tiled and min(lengths) < TILE_ROWS:
            hidden = to_tiles(joined)
        else:
            hidden = fill(joined, filled_rows(len(joined), self.widest_layer))[None]
        spans = []
        start = 0
        for length in lengths:
            spans.append(Span(start, start + length, bias[:, :, :length, :length]))
            start += length
        filling = hidden.shape[0] * hidden.shape[1] - len(joined)
        encoded = self._blocks(hidden, Spans(1, spans, filling)).flatten(0, 1)
        return torch.split(encoded[: len(joined)], lengths)

    def _blocks(self, hidden: torch.Tensor, spans: Spans) -> torch.Tensor:
        for block in self.encoders:
            hidden = block(hidden, spans)
        return hidden


class AudioEmbedding(nn.Module):
    """The encoder and its projection to the decoder's width."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = AudioEncoder(config.audio)
        self.widest_layer = max(config.audio.hidden_size, config.hidden_size)
        self.up_proj_for_speech = Linear(config.audio.hidden_size, config.hidden_size)
        self.down_proj_for_speech = Linear(config.hidden_size, config.hidden_size)

    def forward(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Turn log-mel features, each (frames, mel bands), into embeddings, each (n, width)."""
        encoded = self.encoder(clips)
        if not encoded:
            return []
        if needs_tiles(encoded[0].device, encoded[0].dtype, self.widest_layer):
            return [self._project(each) for each in encoded]
        joined = torch.cat(encoded)
        frames = len(joined)
        if joined.is_cpu:
            joined = fill(joined, filled_rows(frames, self.widest_layer))
        lengths = [len(each) for each in encoded]
        return list(torch.split(self._project(joined)[:frames], lengths))

    def _project(self, encoded: torch.Tensor) -> torch.Tensor:
        wide = functional.gelu(self.up_proj_for_speech(encoded))
        projected: torch.Tensor = self.down_proj_for_speech(wide)
        return projected


def fold_windows(hidden: torch.Tensor) -> torch.Tensor:
    """Fold frames into windows: (rows, n, d) to (rows * windows, WINDOW_FRAMES, d), zero-filled."""
    rows, frames, width = hidden.shape
    filled = functional.pad(hidden, (0, 0, 0, -frames % WINDOW_FRAMES))
    return filled.reshape(rows * (filled.shape[1] // WINDOW_FRAMES), WINDOW_FRAMES, width)


def attention_mask(frames: torch.Tensor, total: int, folded: bool) -> torch.Tensor:
    """Mark the frames that each clip attends to, exactly as it would alone.

    Alone, a clip of up to one window ends at its last frame; a longer one also attends to the
    zero frames that fill its last window, as the original code does.

    Args:
        frames: Real encoder frames of each clip, shape (clips,).
        total: Encoder frames of the padded batch.
        folded: Whether the batch is folded into windows.

    Returns:
        Boolean, shape (clips, total), or (clips * windows, WINDOW_FRAMES) when folded.
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


def pack(lengths: Sequence[int], most: int, tiled: bool) -> list[list[int]]:
    """Group windows that are encoded end to end.

    Args:
        lengths: Frames of each.
        most: Frames of a group, at most, but it has at least one window.
        tiled: Whether only windows shorter than a tile share a group.

    Returns:
        The places of the windows of each group.
    """
    groups: list[list[int]] = []
    shared: list[int] = []
    for place, length in enumerate(lengths):
        if tiled and length >= TILE_ROWS:
            groups.append([place])
            continue
        if shared and sum(lengths[each] for each in shared) + length > most:
            groups.append(shared)
            shared = []
        shared.append(place)
    return [*groups, shared] if shared else groups
