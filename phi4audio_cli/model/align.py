"""Word times from the model's own attention, in one extra pass over a finished answer.

The prompt's keys still lie in the row's slot, so only the answer is read again. The pass runs with
whatever attention the model runs with: the weights of text to audio are computed beside it from
each layer's queries and keys, and only those of the best heads are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import apply_rotary_pos_emb

from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.heads import BestHeads
from phi4audio_cli.model.words import Spelling, spell
from phi4audio_cli.model.writing import Row
from phi4audio_cli.text.word_alignment import frame_scores, monotonic_spans
from phi4audio_cli.types import Word

FRAME_SECONDS = 0.08
STEPS_PER_FRAME = 4
"""Words are placed in steps of 20 ms, between the 80 ms of attention and the 10 ms of features."""
FEATURES_PER_STEP = 2
LEAST_SCORE = 0.5
"""Under this score of the best head, none follows the audio and its times would be guesses.

Of a short text's few tokens some head may be in order by chance, so more is asked there.
"""
FEWEST_TOKENS = 3
"""With fewer, following can't be told from looking at one place."""


def align(decoder: Decoder, row: Row, decode: Callable[[Sequence[int]], str]) -> tuple[Word, ...]:
    """Find when each word of an answer was said.

    Args:
        decoder: Holds the row in its slot.
        row: An answer to a prompt with audio.
        decode: From tokens to text, nothing stripped.

    Returns:
        Words, times in seconds from the start of the chunk, in order and without overlap; nothing
        where no head follows the audio.
    """
    if row.prompt.features is None:
        raise ValueError("what has no audio can't be aligned with it")
    if len(row.answer.tokens) < FEWEST_TOKENS:
        return ()
    with torch.inference_mode():
        heads = _watch(decoder, row)
    return _words(row, heads, decode)


def _watch(decoder: Decoder, row: Row) -> BestHeads:
    """Read the answer again, and keep the best of all heads."""
    prompt, tokens = row.prompt, row.answer.tokens
    audio = slice(len(prompt.before), len(prompt.before) + prompt.audio_length)
    heads = BestHeads()

    def look(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        queries = _queries(attention, hidden, kwargs["position_embeddings"])
        keys = decoder.slots.keys[attention.layer_idx][row.place, :, audio]
        heads.offer(_weights(queries, keys))

    handles = [
        layer.self_attn.register_forward_pre_hook(look, with_kwargs=True)
        for layer in decoder.model.decoder_layers()
    ]
    try:
        # What predicts a token is the position before it.
        said = [prompt.after[-1], *tokens[:-1]]
        decoder.read_again(row.place, said, prompt.prompt_length - 1, row.length)
    finally:
        for handle in handles:
            handle.remove()
    return heads


def _queries(
    attention: Any, hidden: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Return the rotated queries of one row, (heads, n, head width)."""
    size = attention.head_dim
    heads = attention.config.num_attention_heads
    queries = attention.qkv_proj(hidden)[..., : heads * size]
    queries = queries.unflatten(-1, (heads, size)).transpose(1, 2)
    rotated: torch.Tensor = apply_rotary_pos_emb(queries, queries, *rotation)[0][0]
    return rotated


def _weights(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Attention among the audio frames only, (heads, tokens, frames), rows adding up to 1."""
    shared = keys.repeat_interleave(len(queries) // len(keys), dim=0).float()
    scores = queries.float() @ shared.transpose(1, 2) / math.sqrt(queries.shape[-1])
    return scores.softmax(dim=-1)


def _words(row: Row, heads: BestHeads, decode: Callable[[Sequence[int]], str]) -> tuple[Word, ...]:
    tokens = row.answer.tokens
    if heads.score < LEAST_SCORE + 1 / len(tokens) or row.prompt.features is None:
        return ()
    spellings = spell(tokens, decode)
    attention = heads.together().cpu().numpy()
    fine = attention.repeat(STEPS_PER_FRAME, axis=1)
    energy = _energy(row.prompt.features, fine.shape[1])
    if len(fine) > fine.shape[1] or not spellings:
        return ()
    begins = {spelling.first for spelling in spellings}
    scores = frame_scores(fine, energy)
    free = np.zeros(len(energy), dtype=np.float32)
    spans = monotonic_spans(scores, free, [index in begins for index in range(len(fine))])
    return tuple(_word(spelling, spans, row.answer.logprobs) for spelling in spellings)


def _energy(features: torch.Tensor, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Mean log-mel energy of each step, shape (steps,)."""
    energy = features.float().mean(dim=1).cpu().numpy()
    padded = np.pad(energy, (0, max(0, steps * FEATURES_PER_STEP - len(energy))), mode="edge")
    pairs = padded[: steps * FEATURES_PER_STEP].reshape(steps, FEATURES_PER_STEP)
    mean: np.ndarray[Any, np.dtype[np.float32]] = pairs.mean(axis=1)
    return mean


def _word(spelling: Spelling, spans: Sequence[tuple[int, int]], logprobs: Sequence[float]) -> Word:
    step = FRAME_SECONDS / STEPS_PER_FRAME
    sure = logprobs[spelling.first : spelling.stop]
    return Word(
        word=spelling.text,
        start=spans[spelling.first][0] * step,
        end=spans[spelling.stop - 1][1] * step,
        probability=math.exp(sum(sure) / len(sure)),
    )
