"""Phase 2: train the projection and the decoder on fixed encoder outputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalAttention,
    Phi4MultimodalDecoderLayer,
    apply_rotary_pos_emb,
)

from training.spoken_digits import data_parallel
from training.spoken_digits.clip_pool import ClipPool
from training.spoken_digits.digit_tasks import (
    END,
    VOCABULARY_SIZE,
    sample_examples,
    separator_id,
    special_id,
)
from training.spoken_digits.encoder_training import AuxiliaryHeads
from training.spoken_digits.sequence_packing import (
    GUIDED_POSITIONS,
    IGNORE_INDEX,
    PackedBatch,
    pack_batch,
)
from training.spoken_digits.training_clock import TrainingClock

log = logging.getLogger(__name__)

TOKENS_A_STEP = 6200  # all processes together
_AUXILIARY_LAYER = 1  # the auxiliary heads read the states after this layer
# layer -> attention head -> index of its target position in GUIDED_POSITIONS
GUIDED = {
    0: {4: GUIDED_POSITIONS.index("token before"), 5: GUIDED_POSITIONS.index("two tokens before")},
    2: {
        0: GUIDED_POSITIONS.index("start"),
        1: GUIDED_POSITIONS.index("middle"),
        3: GUIDED_POSITIONS.index("stop"),
    },
    3: {0: GUIDED_POSITIONS.index("middle")},
}
_GROW_EVERY = 2
_EXPORT_EVERY = 600.0
_AVERAGE_WEIGHT = 0.01


class DecoderTrainingModel(nn.Module):
    """The decoder and the projection, with auxiliary heads for training."""

    def __init__(self, model: Phi4MultimodalForCausalLM) -> None:
        super().__init__()
        body = model.model
        model.config._attn_implementation = "shared_prefix"
        model.config.audio_config._attn_implementation = "sdpa"  # the line above changes it, too
        audio = body.embed_tokens_extend.audio_embed
        self.up, self.down = audio.up_proj_for_speech, audio.down_proj_for_speech
        self.embed, self.layers, self.norm = body.embed_tokens, body.layers, body.norm
        self.rotary = body.rotary_emb
        self.projected = AuxiliaryHeads(self.embed.embedding_dim)
        self.understood = AuxiliaryHeads(self.embed.embedding_dim)

    def loss(self, batch: PackedBatch) -> tuple[Tensor, float]:
        """Return the loss of a batch, and the language model's share of it."""
        projected = self.down(functional.gelu(self.up(batch.states)))
        text = self.embed(batch.ids)
        hidden = torch.cat([text[:, :1], projected, text[:, 1 + batch.audio :]], dim=1)
        turn = self.rotary(hidden, batch.positions)
        audio, examples = slice(0, 1 + batch.audio), slice(1 + batch.audio, None)
        extra = 0.3 * self._auxiliary_loss(self.projected, hidden, batch, audio)
        for index, layer in enumerate(self.layers):
            if index in GUIDED:
                extra = extra + 0.5 * _attention_loss(layer, hidden, turn, batch, GUIDED[index])
            hidden = layer(
                hidden, attention_mask=batch.mask, position_embeddings=turn, prefix=1 + batch.audio
            )
            if index == _AUXILIARY_LAYER:
                extra = extra + 0.3 * self._auxiliary_loss(self.understood, hidden, batch, audio)
                extra = extra + 0.6 * self._auxiliary_loss(self.understood, hidden, batch, examples)
        asked = batch.targets != IGNORE_INDEX
        logits = functional.linear(self.norm(hidden[asked]), self.embed.weight)
        language = functional.cross_entropy(logits, batch.targets[asked], weight=_token_weights())
        return language + extra, float(language.detach())

    @staticmethod
    def _auxiliary_loss(
        auxiliary: AuxiliaryHeads, hidden: Tensor, batch: PackedBatch, part: slice
    ) -> Tensor:
        """Return the auxiliary loss (count and last digits) of a part of the rows.

        Audio and examples count separately, because audio has far more positions.
        """
        counts, latest = batch.counts[:, part], batch.latest[:, part]
        asked = counts >= 0
        return auxiliary.loss(hidden[:, part][asked], counts[asked], latest[asked])


@cache
def _token_weights() -> Tensor:
    """Return token weights, higher for the tokens that end an answer or its first half."""
    weights = torch.ones(VOCABULARY_SIZE)
    weights[[special_id(END), separator_id()]] = 6.0
    return weights


def _shared_prefix_attention(
    module: Phi4MultimodalAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    prefix: int,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend within the audio, and from the examples to everything, without masked products.

    Arguments and results are those of transformers' attention functions; `prefix` is the position
    of the first example.
    """
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    attend = partial(functional.scaled_dot_product_attention, scale=scaling)
    audio = attend(query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix], is_causal=True)
    examples = attend(query[:, :, prefix:], key, value, attn_mask=attention_mask[:, :, prefix:])
    return torch.cat([audio, examples], dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register("shared_prefix", _shared_prefix_attention)


def _attention_loss(
    layer: Phi4MultimodalDecoderLayer,
    hidden: Tensor,
    turn: tuple[Tensor, Tensor],
    batch: PackedBatch,
    heads: dict[int, int],
) -> Tensor:
    """Return the loss of the guided heads of a layer: their attention off the target positions.

    Args:
        layer: the layer about to run.
        hidden: its input, shape (rows, length, width).
        turn: cosines and sines of the rotary embedding.
        batch: the rows.
        heads: for each guided head, the index of its target position.
    """
    attention = layer.self_attn
    inputs = layer.input_layernorm(hidden)
    shape = (*hidden.shape[:2], len(heads), attention.head_dim)
    queries, keys = (
        functional.linear(inputs, _head_weights(attention, heads, keys=which)).view(shape)
        for which in (False, True)
    )
    queries, keys = apply_rotary_pos_emb(queries, keys, *turn, unsqueeze_dim=2)
    queries = queries.gather(1, batch.asked[..., None, None].expand(-1, -1, *shape[2:]))
    scores = torch.einsum("rqhd,rkhd->rhqk", queries, keys) * attention.scaling
    scores = (scores + batch.asked_mask[:, None]).log_softmax(-1)
    looks = batch.looks[:, :, list(heads.values())].transpose(1, 2)  # rows, heads, queries, 3
    looked = scores.gather(-1, looks) @ scores.new_tensor([0.2, 0.6, 0.2])
    real = (batch.asked > 0)[:, None].expand_as(looked)
    loss: Tensor = -looked[real].mean()
    return loss


def _head_weights(
    attention: Phi4MultimodalAttention, heads: dict[int, int], *, keys: bool
) -> Tensor:
    """Return the rows of the joint projection for the queries or keys of some heads."""
    width, config = attention.head_dim, attention.config
    rows = attention.qkv_proj.weight.unflatten(0, (-1, width))
    if keys:
        offset = config.num_attention_heads
        picked = [offset + head // attention.num_key_value_groups for head in heads]
    else:
        picked = list(heads)
    found: Tensor = rows[picked].flatten(0, 1)
    return found


class WeightAverage:
    """A running average of a module's weights."""

    def __init__(self, module: nn.Module) -> None:
        self._weights: list[Tensor] = list(module.parameters())
        self._mean = [weight.detach().clone() for weight in self._weights]

    def update(self, step: int) -> None:
        """Add the weights after a step; early steps count more."""
        share = max(_AVERAGE_WEIGHT, 1.0 / (step + 1.0))
        with torch.no_grad():
            torch._foreach_lerp_(self._mean, self._weights, share)

    def swap(self) -> None:
        """Exchange the module's weights and their average; a second call reverts it."""
        with torch.no_grad():
            for weight, mean in zip(self._weights, self._mean, strict=True):
                kept = weight.clone()
                weight.copy_(mean)
                mean.copy_(kept)


def train_decoder(
    module: DecoderTrainingModel,
    pool: ClipPool,
    clock: TrainingClock,
    state: Path,
    export: Callable[[], None],
    *,
    rate: float = 1.5e-3,
    seed: int = 1,
    first_groups: int = 80,
) -> None:
    """Train until the time budget is used; export average weights regularly."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    clock.restore(state, module, optimizer)
    average = WeightAverage(module)
    rng = np.random.default_rng([seed, clock.step, data_parallel.rank()])
    pool.add_groups(first_groups)
    first_step, exported = clock.step, clock.elapsed
    while not clock.is_over:
        if clock.step % _GROW_EVERY == 0:
            pool.add_groups()
        language = _step(module, pool, clock, optimizer, rate, rng)
        average.update(clock.step - first_step)
        if clock.count_step(language):
            clock.save(state, module, optimizer)
        if clock.elapsed - exported > _EXPORT_EVERY or clock.is_over:
            exported = clock.elapsed
            clock.save(state, module, optimizer)
            if data_parallel.rank() == 0:
                average.swap()
                export()
                average.swap()
            clock.reset_timer()


def _step(
    module: DecoderTrainingModel,
    pool: ClipPool,
    clock: TrainingClock,
    optimizer: torch.optim.Optimizer,
    rate: float,
    rng: np.random.Generator,
) -> float:
    """Train one step on new examples; return the language model's loss."""
    clips = pool.sample_batch(rng, TOKENS_A_STEP // data_parallel.world_size())
    batch = pack_batch(clips, [sample_examples(clip.digits, rng) for clip in clips])
    clock.set_rate(optimizer, rate)
    loss, language = module.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    clock.synchronize(data_parallel.all_reduce_gradients(module, clock.elapsed))
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return language
