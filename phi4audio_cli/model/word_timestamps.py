"""Word times from the decoder's attention, by one extra pass over a finished output.

The keys of the prompt are still in the KV cache, so only the output is computed again. From each
layer's queries and keys the attention of text to audio is computed; the few heads that follow the
audio best are kept, found for each text without any training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from phi4audio_cli.model.batch_decoder import RunningSequence
from phi4audio_cli.network.kv_cache import KVCache
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.text.word_alignment import frame_scores, monotonic_spans
from phi4audio_cli.text.words import starts_word
from phi4audio_cli.types import EMBEDDING_SECONDS, FEATURES_PER_EMBEDDING, Word

STEPS_PER_EMBEDDING = 4
"""Words are placed in steps of 20 ms, between the 80 ms of attention and the 10 ms of features."""
FEATURES_PER_STEP = FEATURES_PER_EMBEDDING // STEPS_PER_EMBEDDING

MIN_HEAD_SCORE = 0.5
"""Below this score of the best head, no head follows the audio, and words get no times.

In a short text a head may follow by chance, so the limit is higher there.
"""
MIN_TOKENS = 3
"""With fewer tokens, a head that follows the audio looks like one that does not move."""

MAX_HEADS = 6
"""Heads whose attention is averaged."""
FOCUS_FRAMES = 5
"""Audio frames (of 80 ms) over which a head's weight counts as focused on one place."""
MAX_STEP_RATIO = 3
"""A step of more than this many times the average, plus 10 frames, is a jump."""
MIN_RELATIVE_SCORE = 0.3
"""Heads with a smaller share of the best head's score are ignored."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Decode = Callable[[Sequence[int]], str]


def align_words(
    network: Phi4Audio, cache: KVCache, sequence: RunningSequence, decode: Decode
) -> tuple[Word, ...]:
    """Find when each word of an output was said.

    Args:
        network: That decoded the output.
        cache: Holds the sequence in its slot.
        sequence: An output for a prompt with audio.
        decode: From tokens to text; a leading space stays.

    Returns:
        Words, times in seconds from the start of the chunk, in order and without overlap; empty
        where no head follows the audio.

    Raises:
        ValueError: The prompt has no audio.
    """
    if sequence.prompt.features is None:
        raise ValueError("the words of a prompt without audio have no times")
    if len(sequence.output.tokens) < MIN_TOKENS:
        return ()
    with torch.inference_mode():
        heads = _collect_attention(network, cache, sequence)
    return _place_words(sequence, sequence.prompt.features, heads, decode)


def _collect_attention(network: Phi4Audio, cache: KVCache, sequence: RunningSequence) -> TopHeads:
    """Compute the output again, and keep the attention of the best heads."""
    prompt, tokens = sequence.prompt, sequence.output.tokens
    first = len(prompt.prefix_ids)
    heads = TopHeads()

    def observe(layer: int, queries: torch.Tensor) -> None:
        keys = cache.keys[layer][sequence.slot, :, first : first + prompt.audio_length]
        heads.add(_audio_attention(queries, keys))

    # A token is predicted at the position before it.
    inputs = [prompt.suffix_ids[-1], *tokens[:-1]]
    start = prompt.prompt_length - 1
    network.rescore(cache, sequence.slot, inputs, start, sequence.length, observe)
    return heads


def _audio_attention(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return softmax attention among the audio frames only, in float32.

    Args:
        queries: Rotated, shape (heads, tokens, head width).
        keys: Rotated, shape (key/value heads, frames, head width).

    Returns:
        Shape (heads, tokens, frames).
    """
    shared = keys.repeat_interleave(len(queries) // len(keys), dim=0).float()
    scores = queries.float() @ shared.transpose(1, 2) / math.sqrt(queries.shape[-1])
    return scores.softmax(dim=-1)


# Heads that follow the audio.


def alignment_scores(weights: torch.Tensor) -> torch.Tensor:
    """Score how well each head follows the audio: it attends to one place, which moves forward.

    The product of three numbers from 0 to 1: correlation of the attended place with the place in
    the text, share of steps that go forward without a jump, and share of the weight in one place.

    Args:
        weights: Attention of text tokens to audio frames, rows adding up to 1, shape
            (heads, tokens, frames), at least 2 tokens.

    Returns:
        Shape (heads,), from 0 to 1.
    """
    return _monotonicity(weights) * _focus(weights)


def _monotonicity(weights: torch.Tensor) -> torch.Tensor:
    """Return the product of a head's first two numbers, an upper bound of its score."""
    _, tokens, frames = weights.shape
    places = torch.arange(frames, dtype=weights.dtype, device=weights.device)
    steps = weights.argmax(dim=-1).diff(dim=-1)
    forward = (steps >= 0) & (steps <= MAX_STEP_RATIO * frames / tokens + 10)
    share = forward.to(weights.dtype).mean(dim=-1)
    return _correlation_with_order(weights @ places).clamp(min=0) * share


def _focus(weights: torch.Tensor) -> torch.Tensor:
    """Return the share of each head's weight that is in one place, averaged over the tokens."""
    heads, tokens, frames = weights.shape
    rows = weights.reshape(heads * tokens, 1, frames)
    pooled = torch.nn.functional.avg_pool1d(rows, FOCUS_FRAMES, 1, FOCUS_FRAMES // 2)
    return pooled.amax(dim=-1).reshape(heads, tokens).mean(dim=-1) * FOCUS_FRAMES


def _correlation_with_order(centres: torch.Tensor) -> torch.Tensor:
    """Return Pearson's correlation of each row with 0, 1, 2, ...; shape (rows, n) to (rows,)."""
    order = torch.arange(centres.shape[1], dtype=centres.dtype, device=centres.device)
    order = order - order.mean()
    moved = centres - centres.mean(dim=1, keepdim=True)
    spread = (moved.square().sum(dim=1) * order.square().sum()).sqrt()
    return (moved * order).sum(dim=1) / spread.clamp(min=1e-6)


@dataclass(slots=True)
class TopHeads:
    """The best heads of the layers so far; the attention of all others is dropped."""

    scores: list[float] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)

    def add(self, weights: torch.Tensor) -> None:
        """Consider the heads of one layer, shape (heads, tokens, frames).

        The focus, which takes most of the time, is computed only for heads that may be kept.
        """
        bound = _monotonicity(weights)
        lowest = self.scores[-1] if len(self.scores) == MAX_HEADS else -1.0
        weights = weights[bound > lowest]
        if not len(weights):
            return
        scores = bound[bound > lowest] * _focus(weights)
        candidates = list(zip(scores.tolist(), weights, strict=True))
        candidates += zip(self.scores, self.weights, strict=True)
        best = sorted(candidates, key=lambda head: head[0], reverse=True)[:MAX_HEADS]
        self.scores = [score for score, _ in best]
        self.weights = [kept.clone() for _, kept in best]

    @property
    def best_score(self) -> float:
        """Score of the best head, from 0 to 1."""
        return self.scores[0] if self.scores else 0.0

    def mean(self) -> torch.Tensor:
        """Return the mean attention of the good heads, shape (tokens, frames)."""
        good = [
            weights
            for score, weights in zip(self.scores, self.weights, strict=True)
            if score >= MIN_RELATIVE_SCORE * self.best_score
        ]
        return torch.stack(good).mean(dim=0)


# Words.


@dataclass(frozen=True, slots=True)
class WordTokens:
    """One word and its tokens."""

    text: str
    """As in the text, with the space before it if there is one."""
    first: int
    """Index of its first token."""
    stop: int
    """Index after its last token."""


def split_to_word_tokens(tokens: Sequence[int], decode: Decode) -> list[WordTokens]:
    """Group tokens into words.

    A word begins at a space, and at every character of a script without spaces. Tokens that make a
    character only together stay together; punctuation stays with the word before it.

    Args:
        tokens: Of one output.
        decode: From tokens to text; a leading space stays.

    Returns:
        The words; joined they are the text.
    """
    words: list[WordTokens] = []
    for text, first, stop in _whole_characters(tokens, decode):
        if words and not starts_word(words[-1].text, text[0]):
            last = words[-1]
            words[-1] = WordTokens(last.text + text, last.first, stop)
        else:
            words.append(WordTokens(text, first, stop))
    return words


def _whole_characters(tokens: Sequence[int], decode: Decode) -> list[tuple[str, int, int]]:
    """Split tokens into the shortest runs that decode to whole characters."""
    runs = []
    first, done = 0, ""
    for stop in range(1, len(tokens) + 1):
        text = decode(tokens[:stop])
        if text.endswith(REPLACEMENT) and stop < len(tokens):
            continue  # the bytes of a character are incomplete
        if len(text) > len(done):
            runs.append((text[len(done) :], first, stop))
            first, done = stop, text
    return runs


def _place_words(
    sequence: RunningSequence, features: torch.Tensor, heads: TopHeads, decode: Decode
) -> tuple[Word, ...]:
    """Find the most probable monotonic alignment of tokens and audio, and join it to words."""
    tokens = sequence.output.tokens
    if heads.best_score < MIN_HEAD_SCORE + 1 / len(tokens):
        return ()
    words = split_to_word_tokens(tokens, decode)
    attention = heads.mean().cpu().numpy().repeat(STEPS_PER_EMBEDDING, axis=1)
    num_tokens, num_steps = attention.shape
    if num_tokens > num_steps or not words:
        return ()
    energy = _energy(features, num_steps)
    first_tokens = {word.first for word in words}
    no_penalty = np.zeros(num_steps, dtype=np.float32)
    starts_word = [index in first_tokens for index in range(num_tokens)]
    spans = monotonic_spans(frame_scores(attention, energy), no_penalty, starts_word)
    return tuple(_timed_word(word, spans, sequence.output.logprobs) for word in words)


def _energy(features: torch.Tensor, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the mean log-mel energy of each step, shape (steps,)."""
    energy = features.float().mean(dim=1).cpu().numpy()
    padded = np.pad(energy, (0, max(0, steps * FEATURES_PER_STEP - len(energy))), mode="edge")
    grouped = padded[: steps * FEATURES_PER_STEP].reshape(steps, FEATURES_PER_STEP)
    mean: np.ndarray[Any, np.dtype[np.float32]] = grouped.mean(axis=1)
    return mean


def _timed_word(
    word: WordTokens, spans: Sequence[tuple[int, int]], logprobs: Sequence[float]
) -> Word:
    step = EMBEDDING_SECONDS / STEPS_PER_EMBEDDING
    own = logprobs[word.first : word.stop]
    return Word(
        word=word.text,
        start=spans[word.first][0] * step,
        end=spans[word.stop - 1][1] * step,
        probability=math.exp(sum(own) / len(own)),
    )
