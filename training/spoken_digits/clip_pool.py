"""A pool of clips with cached encoder outputs, used several times by the decoder phase."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training.spoken_digits import data_parallel
from training.spoken_digits.clip_synthesis import (
    Clip,
    ClipSampler,
    Labels,
    PlacedWord,
    frame_labels,
    mask_bands,
)
from training.spoken_digits.digit_corpus import Bank
from training.spoken_digits.encoder_training import EncoderTrainingModel
from training.spoken_digits.mel_features import FRAMES_PER_TOKEN, Floats

CLIPS_A_GROUP = 4
FULL_FRAMES = 3998  # 40 s of audio, the encoder's window: 500 tokens
_FULL_SHARE, _LONG_SHARE = 0.75, 0.1


@dataclass
class EncodedClip:
    """A clip as input of the decoder: encoder states (tokens, width) in half precision."""

    states: Tensor
    words: list[PlacedWord]
    labels: Labels

    @property
    def digits(self) -> list[int]:
        """The spoken digits, in order."""
        return [word.digit for word in self.words]

    def token_of(self, frame: float) -> int:
        """Return the encoder frame nearest to a feature frame."""
        return min(len(self.states) - 1, max(0, round(frame / FRAMES_PER_TOKEN)))

    def word_tokens(self, index: int) -> tuple[int, int, int]:
        """Return the tokens of a word's start, middle and end.

        Beyond the last word, these are three times the clip's last token.
        """
        if index >= len(self.words):
            return (len(self.states) - 1,) * 3
        word = self.words[index]
        middle = (word.start + word.stop) / 2
        return self.token_of(word.start), self.token_of(middle), self.token_of(word.stop)


class ClipGroups(IterableDataset[list[Clip]]):
    """Groups of clips of one length, three quarters of them full 40 s windows."""

    def __init__(self, bank: Bank, seed: int, fill: Floats) -> None:
        self.bank, self.seed, self.fill = bank, seed, fill

    def __iter__(self) -> Iterator[list[Clip]]:
        torch.set_num_threads(1)
        sampler = ClipSampler(self.bank, self.seed)
        while True:
            frames = _draw_frames(sampler.rng)
            clips = [sampler.clip(frames) for _ in range(CLIPS_A_GROUP)]
            for clip in clips[::3]:
                mask_bands(clip.features, sampler.rng, self.fill)
            yield clips


def _draw_frames(rng: np.random.Generator) -> int:
    """Draw a clip length in feature frames."""
    kind = rng.random()
    if kind < _FULL_SHARE:
        return FULL_FRAMES
    seconds = rng.uniform(12, 40) if kind < _FULL_SHARE + _LONG_SHARE else rng.uniform(1.5, 12)
    return min(FULL_FRAMES, int(100 * seconds))


class ClipPool:
    """The newest groups; each new group replaces the oldest."""

    def __init__(
        self, bank: Bank, encoder_model: EncoderTrainingModel, seed: int, most: int = 220
    ) -> None:
        self.encoder_model = encoder_model
        self.groups: deque[list[EncodedClip]] = deque(maxlen=most)
        fill = encoder_model.audio.encoder_embedding.global_mean.numpy().copy()
        self._source = data_parallel.prefetch_items(ClipGroups(bank, seed, fill))

    def add_groups(self, groups: int = 1) -> None:
        """Add fresh groups."""
        for _ in range(groups):
            clips = next(self._source)
            features = torch.from_numpy(np.stack([clip.features for clip in clips]))
            with torch.no_grad():
                states = self.encoder_model.encode(features)[1].half()
            self.groups.append(
                [
                    EncodedClip(one, clip.words, frame_labels(clip.words, len(clip.features)))
                    for one, clip in zip(states, clips, strict=True)
                ]
            )

    def sample_batch(self, rng: np.random.Generator, tokens: int) -> list[EncodedClip]:
        """Draw clips of similar length, with at most `tokens` tokens including their examples."""
        groups = list(self.groups)
        start = len(groups[rng.integers(len(groups))][0].states)
        near = sorted(groups, key=lambda group: abs(len(group[0].states) - start) + rng.random())
        batch: list[EncodedClip] = []
        used = 0
        for group in near[:8]:
            size = len(group) * _row_length(group)
            if batch and used + size > tokens:
                break
            batch, used = batch + group, used + size
        return batch


def _row_length(group: list[EncodedClip]) -> int:
    """Estimate the longest row of a group in tokens, audio and examples."""
    return max(len(clip.states) + 60 + 3 * len(clip.words) for clip in group)
