"""Phase 1: train the audio encoder alone, with CTC, frame labels and the digit count."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import IterableDataset
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from training.spoken_digits import data_parallel
from training.spoken_digits.clip_synthesis import (
    NO_DIGIT,
    Clip,
    ClipSampler,
    frame_labels,
    mask_bands,
)
from training.spoken_digits.digit_corpus import Bank
from training.spoken_digits.mel_features import Floats
from training.spoken_digits.training_clock import TrainingClock

log = logging.getLogger(__name__)

SECONDS_A_STEP = 160  # all processes together
PERIODS = (4, 8, 16, 32, 64, 128)  # periods of the sines that encode the running count, in words
_MIDDLE = 3  # frame labels are read after so many conformer blocks


class Batch(NamedTuple):
    """Clips of one length: features (clips, frames, 80), labels (clips, tokens), targets."""

    features: Tensor
    spoken: Tensor
    begun: Tensor
    latest: Tensor
    targets: Tensor
    target_lengths: Tensor


def encode_count(count: Tensor) -> Tensor:
    """Turn running counts of shape (...) into sines and cosines of shape (..., 12)."""
    angles = count[..., None].float() * (2 * torch.pi / torch.tensor(PERIODS))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class AuxiliaryHeads(nn.Module):
    """Heads that predict the running count and the last four digits from hidden states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.count = nn.Linear(width, 2 * len(PERIODS))
        self.latest = nn.Linear(width, 4 * 11)

    def loss(self, hidden: Tensor, count: Tensor, latest: Tensor, first: int = 0) -> Tensor:
        """Return the loss of both predictions.

        Args:
            hidden: shape (states, width).
            count: the number of words begun, shape (states,); negative: ignored.
            latest: the last digits, shape (states, 4), -100: ignored.
            first: index of the first of the last digits that counts.
        """
        asked = count >= 0
        miss = (self.count(hidden[asked]) - encode_count(count[asked])).square().mean()
        logits = self.latest(hidden).unflatten(-1, (4, 11))[:, first:]
        digits = functional.cross_entropy(logits.flatten(0, 1), latest[:, first:].flatten())
        loss: Tensor = 1.5 * miss + 0.4 * digits
        return loss


class EncoderTrainingModel(nn.Module):
    """The audio encoder with auxiliary heads for training."""

    def __init__(self, audio: Phi4MultimodalAudioModel) -> None:
        super().__init__()
        self.audio = audio
        width = audio.config.hidden_size
        self.spoken = nn.Linear(width, 11)
        self.ctc = nn.Linear(width, 11)
        self.auxiliary = AuxiliaryHeads(width)

    def encode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run the encoder on clips of one length; no padding, so no mask.

        Returns the states after the middle and the last block, (clips, tokens, width) each.
        """
        hidden, _ = self.audio.embed(self.audio.encoder_embedding(features), None)
        bias = self.audio.relative_attention_bias_layer(hidden)
        middle = hidden
        for index, block in enumerate(self.audio.encoders, start=1):
            hidden = block(hidden, bias)
            middle = hidden if index == _MIDDLE else middle
        return middle, hidden

    def loss(self, batch: Batch) -> Tensor:
        """Return the phase's loss for a batch."""
        middle, last = self.encode(batch.features)
        spoken = functional.cross_entropy(self.spoken(middle).flatten(0, 1), batch.spoken.flatten())
        auxiliary = self.auxiliary.loss(
            last.flatten(0, 1), batch.begun.flatten(), batch.latest.flatten(0, 1)
        )
        scores = self.ctc(last).log_softmax(-1).transpose(0, 1)
        lengths = torch.full((scores.shape[1],), scores.shape[0])
        ctc = functional.ctc_loss(
            scores, batch.targets, lengths, batch.target_lengths,
            blank=NO_DIGIT, reduction="none", zero_infinity=True,
        )  # fmt: skip
        ctc = (ctc / batch.target_lengths.clamp(min=1)).mean()
        return ctc + 0.5 * spoken + 0.5 * auxiliary

    @torch.no_grad()
    def read(self, features: Tensor) -> list[int]:
        """Decode the digits of one clip, features (frames, 80), greedily from the CTC head."""
        best = self.ctc(self.encode(features[None])[1])[0].argmax(-1).tolist()
        return [
            digit
            for digit, before in zip(best, [NO_DIGIT, *best], strict=False)
            if digit not in (NO_DIGIT, before)
        ]


def initialize_encoder(audio: Phi4MultimodalAudioModel, mean: Floats, std: Floats) -> None:
    """Initialize the encoder for fast training.

    transformers' initialisation (std 0.02) stalls, so linear and convolution layers get PyTorch's
    own; the relative bias starts with two local heads, two that look back, one ahead, one
    everywhere.
    """
    for module in audio.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.reset_parameters()
    audio.encoder_embedding.global_mean.copy_(torch.from_numpy(mean))
    audio.encoder_embedding.global_invstd.copy_(torch.from_numpy(1.0 / std))
    reach = audio.relative_attention_bias_layer.max_distance
    distance = torch.arange(-reach, reach).float()
    wrong_way = 4.0 * (distance > 0)
    heads = [-0.5 * distance.abs(), -0.25 * distance.abs(), -wrong_way, -wrong_way]
    heads[3] = heads[3] - 0.06 * distance.abs()
    heads += [-4.0 * (distance < 0) - 0.1 * distance.abs(), torch.zeros_like(distance)]
    table = audio.relative_attention_bias_layer.bias_values.weight
    with torch.no_grad():
        table.copy_(torch.stack(heads, dim=1)[:, : table.shape[1]])


def collate_clips(clips: list[Clip]) -> Batch:
    """Make a batch of clips that all have the same length."""
    labels = [frame_labels(clip.words, len(clip.features)) for clip in clips]
    digits = [torch.tensor([word.digit for word in clip.words], dtype=torch.long) for clip in clips]
    return Batch(
        features=torch.from_numpy(np.stack([clip.features for clip in clips])),
        spoken=torch.from_numpy(np.stack([one.spoken for one in labels])),
        begun=torch.from_numpy(np.stack([one.begun for one in labels])),
        latest=torch.from_numpy(np.stack([one.latest.T for one in labels])),
        targets=nn.utils.rnn.pad_sequence(digits, batch_first=True),
        target_lengths=torch.tensor([len(one) for one in digits]),
    )


class EncoderBatches(IterableDataset[Batch]):
    """Batches of 160 s for the encoder: short clips first, then longer and longer ones."""

    def __init__(self, bank: Bank, progress: Synchronized[float], fill: Floats, seed: int) -> None:
        self.bank, self.progress, self.fill = bank, progress, fill
        self.seed, self.length_seed = seed * data_parallel.world_size() + data_parallel.rank(), seed
        self.seconds = SECONDS_A_STEP // data_parallel.world_size()

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        sampler = ClipSampler(self.bank, self.seed)
        lengths = np.random.default_rng(self.length_seed)  # the same in all processes
        while True:
            seconds = self._length(lengths)
            count = max(1, self.seconds // seconds)
            clips = [sampler.clip(100 * seconds - 2) for _ in range(count)]
            for clip in clips:
                mask_bands(clip.features, sampler.rng, self.fill)
            yield collate_clips(clips)

    def _length(self, rng: np.random.Generator) -> int:
        """Draw the clips' length in seconds for the progress made, 0 to 1."""
        progress = self.progress.value
        if progress < 0.1:
            return 4
        if progress < 0.2:
            return int(rng.choice([4, 8]))
        if progress < 0.35:
            return int(rng.choice([3, 8, 20]))
        return int(rng.choice([2, 5, 10, 20, 40], p=[0.08, 0.1, 0.12, 0.2, 0.5]))


def feature_statistics(bank: Bank, seed: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the features over some clips, shape (80,) each."""
    sampler = ClipSampler(bank, seed)
    frames = np.concatenate([sampler.clip(1000).features for _ in range(40)])
    return frames.mean(axis=0), frames.std(axis=0) + 1e-3


def train_encoder(
    module: EncoderTrainingModel,
    bank: Bank,
    clock: TrainingClock,
    state: Path,
    *,
    rate: float = 1.2e-3,
    seed: int = 1,
) -> None:
    """Train the encoder until the time budget is used, and save its state regularly."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    clock.restore(state, module, optimizer)
    fill = module.audio.encoder_embedding.global_mean.numpy().copy()
    examples = EncoderBatches(bank, clock.progress, fill, seed + clock.step)
    for batch in data_parallel.prefetch_items(examples):
        clock.set_rate(optimizer, rate)
        loss = module.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        clock.synchronize(data_parallel.all_reduce_gradients(module, clock.elapsed))
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if clock.count_step(
            float(loss.detach()), note=f"{batch.features.shape[1] // 100 + 1} s clips"
        ):
            clock.save(state, module, optimizer)
        if clock.is_over:
            break
    clock.save(state, module, optimizer)
    data_parallel.barrier()
