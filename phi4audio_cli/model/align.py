"""Word times from the model's own attention, in one extra pass over finished texts.

The pass runs with whatever attention the model runs with: the weights of text to audio are
computed beside it from each layer's queries and keys, and only those of the best heads are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import apply_rotary_pos_emb

from phi4audio_cli.model.generate import Answer, embed_prompts
from phi4audio_cli.model.heads import BestHeads
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.words import Spelling, spell
from phi4audio_cli.text.alignment import best_spans, fit
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


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One finished answer in a batch of embedded prompts."""

    tokens: Sequence[int]
    logprobs: Sequence[float]
    audio_start: int
    """Position of the first audio embedding in the padded prompt."""
    audio_length: int
    """Number of audio embeddings."""
    features: torch.Tensor
    """Log-mel features, shape (frames, mel bands)."""
    heads: BestHeads = field(default_factory=BestHeads)


def align(
    model: Phi4AudioForCausalLM,
    batch: Sequence[Prepared],
    heard: Sequence[torch.Tensor],
    answers: Sequence[Answer],
    decode: Callable[[Sequence[int]], str],
) -> list[tuple[Word, ...]]:
    """Find when each word of each answer was said.

    Args:
        model: On its device.
        batch: The prompts, each with audio.
        heard: Audio embeddings of each, shape (audio_length, decoder width).
        answers: To those prompts.
        decode: From tokens to text, nothing stripped.

    Returns:
        For each row its words, times in seconds from the start of the chunk, in order and
        without overlap; nothing where no head follows the audio.
    """
    with torch.inference_mode():
        prompts, mask = embed_prompts(model, batch, heard)
        rows = [
            _row(prompt, answer, prompts.shape[1])
            for prompt, answer in zip(batch, answers, strict=True)
        ]
        if any(len(row.tokens) >= FEWEST_TOKENS for row in rows):
            _watch(model, prompts, mask, rows)
    return [_words(row, decode) for row in rows]


def _row(prompt: Prepared, answer: Answer, padded_length: int) -> _Row:
    if prompt.features is None:
        raise ValueError("what has no audio can't be aligned with it")
    return _Row(
        tokens=answer.tokens,
        logprobs=answer.logprobs,
        audio_start=padded_length - prompt.prompt_length + len(prompt.before),
        audio_length=prompt.audio_length,
        features=prompt.features,
    )


def _watch(
    model: Phi4AudioForCausalLM,
    prompts: torch.Tensor,
    mask: torch.Tensor,
    rows: Sequence[_Row],
) -> None:
    """Run the model over prompts and answers, and let each row keep its best heads."""
    longest = max(len(row.tokens) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long, device=prompts.device)
    said = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.long)
        said[index, : len(row.tokens)] = 1
    embeddings = torch.cat([prompts, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([mask, said.to(mask.dtype)], dim=1)
    # What predicts a token is the position before it.
    first_query = prompts.shape[1] - 1
    with _observed(model, rows, first_query):
        model.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
        )


@contextmanager
def _observed(
    model: Phi4AudioForCausalLM, rows: Sequence[_Row], first_query: int
) -> Iterator[None]:
    def look(attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        queries, keys = _queries_and_keys(attention, hidden, kwargs["position_embeddings"])
        for index, row in enumerate(rows):
            if len(row.tokens) >= FEWEST_TOKENS:
                asked = queries[index, :, first_query : first_query + len(row.tokens)]
                stop = row.audio_start + row.audio_length
                heard = keys[index, :, row.audio_start : stop]
                row.heads.offer(_weights(asked, heard))

    handles = [
        layer.self_attn.register_forward_pre_hook(look, with_kwargs=True)
        for layer in model.decoder_layers()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _queries_and_keys(
    attention: Any, hidden: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries (rows, heads, n, d) and keys (rows, key/value heads, n, d), rotated."""
    size = attention.head_dim
    query_width = attention.config.num_attention_heads * size
    key_width = attention.num_key_value_heads * size
    projected = attention.qkv_proj(hidden)[..., : query_width + key_width]
    heads = projected.unflatten(-1, (-1, size)).transpose(1, 2)
    queries, keys = heads.split([query_width // size, key_width // size], dim=1)
    rotated: tuple[torch.Tensor, torch.Tensor] = apply_rotary_pos_emb(queries, keys, *rotation)
    return rotated


def _weights(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Attention among the audio frames only, (heads, tokens, frames), rows adding up to 1."""
    shared = keys.repeat_interleave(len(queries) // len(keys), dim=0).float()
    scores = queries.float() @ shared.transpose(1, 2) / math.sqrt(queries.shape[-1])
    return scores.softmax(dim=-1)


def _words(row: _Row, decode: Callable[[Sequence[int]], str]) -> tuple[Word, ...]:
    if not row.tokens or row.heads.score < LEAST_SCORE + 1 / len(row.tokens):
        return ()
    spellings = spell(row.tokens, decode)
    attention = row.heads.together().cpu().numpy()
    fine = attention.repeat(STEPS_PER_FRAME, axis=1)
    energy = _energy(row.features, fine.shape[1])
    if len(fine) > fine.shape[1] or not spellings:
        return ()
    begins = {spelling.first for spelling in spellings}
    scores = fit(fine, energy)
    free = np.zeros(len(energy), dtype=np.float32)
    spans = best_spans(scores, free, [index in begins for index in range(len(fine))])
    return tuple(_word(spelling, spans, row.logprobs) for spelling in spellings)


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
