"""Phi-4-multimodal without vision: audio embeddings, prefill, decode steps and rescoring.

Parameters have the names of the native checkpoint layout, so weights load as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from phi4audio_cli.network import attention, cuda_graphs
from phi4audio_cli.network.attention import (
    Batch,
    DecodeStep,
    PackedPrefill,
    PaddedPrefill,
    Rescore,
)
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.cpu_kernels import (
    TILE_ROWS,
    Linear,
    fill,
    filled_rows,
    needs_tiles,
    to_tiles,
)
from phi4audio_cli.network.cuda_graphs import CudaGraphRunner
from phi4audio_cli.network.decoder import DecoderLayer, Observe, RMSNorm, RotaryEmbedding
from phi4audio_cli.network.embedding import Embedding
from phi4audio_cli.network.encoder import AudioEmbedding
from phi4audio_cli.network.kv_cache import KVCache


class TokenDecoder(nn.Module):
    """Token embedding, audio embedding and decoder layers, under the checkpoint's names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        layers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in layers)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.embed_tokens_extend = nn.ModuleDict({"audio_embed": AudioEmbedding(config)})


class Phi4Audio(nn.Module):
    """The whole network.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = TokenDecoder(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()
        self.rope = RotaryEmbedding(config)
        self._graphs: tuple[KVCache, int, CudaGraphRunner] | None = None

    def tie_weights(self) -> None:
        """Give the output head the token embedding's weight, where the configuration says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def audio(self) -> AudioEmbedding:
        """The audio encoder with its projection."""
        embedding = self.model.embed_tokens_extend["audio_embed"]
        assert isinstance(embedding, AudioEmbedding)
        return embedding

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of embeddings and keys."""
        return self.model.embed_tokens.weight.dtype

    @property
    def short_context(self) -> int | None:
        """Longest sequence with LongRoPE's short factors; None without LongRoPE."""
        return self.config.rope.short_context

    @property
    def packs_prefill(self) -> bool:
        """Whether prompts are computed end to end, without padding."""
        return self.device.type == "cpu"

    def embed(self, ids: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Return the embeddings of token ids, shape (n, width)."""
        indices = torch.as_tensor(ids, dtype=torch.long, device=self.device)
        embedded: torch.Tensor = self.model.embed_tokens(indices)
        return embedded

    def encode_clips(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Encode clips; each has the embeddings that it has alone.

        Args:
            features: Log-mel features, each of shape (frames, mel bands), on any device.

        Returns:
            For each its audio embeddings, shape (ceil(frames / 8), width).
        """
        embedded: list[torch.Tensor] = self.audio(
            [clip.to(self.device, self.dtype) for clip in features]
        )
        return embedded

    def new_cache(self, num_slots: int, capacity: int) -> KVCache:
        """Return an empty KV cache for so many sequences of so many positions each."""
        return KVCache(self.config, num_slots, capacity, self.device, self.dtype)

    def prefill(
        self, cache: KVCache, slots: Sequence[int], prompts: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Compute prompts into slots.

        Args:
            cache: Where keys and values are written.
            slots: The slot of each prompt.
            prompts: Embeddings, each (n, width). All are on the same side of `short_context`.

        Returns:
            Logits of the next token of each, float32, shape (prompts, vocabulary).
        """
        if self.packs_prefill:
            return self._prefill_packed(cache, slots, prompts)
        lengths = [len(prompt) for prompt in prompts]
        window = self.config.sliding_window
        padded = nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
        return self._forward(padded, PaddedPrefill(cache, slots, lengths, window))

    def _prefill_packed(
        self, cache: KVCache, slots: Sequence[int], prompts: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Compute prompts end to end; those that can't share a pass have one of their own."""
        widest = self.config.widest_layer
        tiled = needs_tiles(self.device, self.dtype, widest)
        logits: dict[int, torch.Tensor] = {}
        for group in prefill_groups([len(prompt) for prompt in prompts], tiled):
            joined = torch.cat([prompts[each] for each in group])
            if tiled and len(prompts[group[0]]) < TILE_ROWS:
                inputs = to_tiles(joined)
            else:
                inputs = fill(joined, filled_rows(len(joined), widest))[None]
            batch = PackedPrefill(
                cache,
                [slots[each] for each in group],
                [len(prompts[each]) for each in group],
                self.config.sliding_window,
                (inputs.shape[0], inputs.shape[1]),
                filled_rows(len(group), widest),
            )
            logits.update(zip(group, self._forward(inputs, batch)[: len(group)], strict=True))
        return torch.stack([logits[each] for each in range(len(prompts))])

    def decode_step(
        self, cache: KVCache, tokens: Sequence[int], positions: Sequence[int]
    ) -> torch.Tensor:
        """Compute one token of each sequence; sequences are those of the first slots.

        Args:
            cache: Where keys and values are.
            tokens: One for each sequence.
            positions: Of each token in its sequence.

        Returns:
            Logits of the next token of each, float32, shape (sequences, vocabulary); they hold
            until the next step.
        """
        longest = max(positions) + 1
        switch = self.short_context
        if self.captures_steps and (switch is None or longest <= switch):
            span = _span(longest, cuda_graphs.SPAN_STEP, cache.capacity)
            return self._graphs_of(cache).run(tokens, positions, span)
        span = _span(longest, attention.SPAN_STEP, cache.capacity)
        count = len(tokens)
        on_cpu = self.device.type == "cpu"
        filling = [0] * (filled_rows(count, self.config.widest_layer) - count if on_cpu else 0)
        inputs = torch.tensor([*tokens, *filling], device=self.device)
        at = torch.tensor([*positions, *filling], device=self.device)
        return self._step(cache, inputs, at, span, longest, len(filling))[:count]

    def rescore(
        self,
        cache: KVCache,
        slot: int,
        tokens: Sequence[int],
        start: int,
        length: int,
        observe: Observe,
    ) -> None:
        """Compute tokens of a finished sequence again, to observe its layers.

        Args:
            cache: Where keys and values are.
            slot: Of the sequence.
            tokens: Those from `start` on.
            start: Position of the first.
            length: Of the sequence when it ended.
            observe: Called with each layer's index and rotated queries, (heads, n, head width),
                when the layer's keys are in the cache.
        """
        window = self.config.sliding_window
        batch = Rescore(cache, slot, start, len(tokens), length, window)
        self._layers(self.embed(tokens)[None], batch, observe)

    @property
    def captures_steps(self) -> bool:
        """Whether decode steps are captured and replayed: where all layers are on one GPU."""
        offloaded = any(type(layer) is not DecoderLayer for layer in self.model.layers)
        return self.device.type == "cuda" and not offloaded

    def new_graphs(self, cache: KVCache) -> CudaGraphRunner:
        """Return a runner that captures decode steps over a cache."""

        def compute(tokens: torch.Tensor, positions: torch.Tensor, span: int) -> torch.Tensor:
            return self._step(cache, tokens, positions, span, length=0)

        return CudaGraphRunner(compute, cache.num_slots, self.device)

    def _graphs_of(self, cache: KVCache) -> CudaGraphRunner:
        """Return the runner of a cache; a graph holds addresses, so a grown cache has another."""
        if self._graphs is None or self._graphs[:2] != (cache, cache.capacity):
            self._graphs = (cache, cache.capacity, self.new_graphs(cache))
        return self._graphs[2]

    def _step(
        self,
        cache: KVCache,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        span: int,
        length: int,
        filling: int = 0,
    ) -> torch.Tensor:
        batch = DecodeStep(cache, positions, span, length, self.config.sliding_window, filling)
        return self._forward(self.model.embed_tokens(tokens[:, None]), batch)

    def _forward(self, inputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Run (rows, n, width) through all layers and the head: logits (outputs, vocabulary)."""
        logits: torch.Tensor = self.lm_head(self.model.norm(self._layers(inputs, batch)))
        return logits[:, 0].float()

    def _layers(
        self, hidden: torch.Tensor, batch: Batch, observe: Observe | None = None
    ) -> torch.Tensor:
        rope = self.rope(batch.positions, batch.length, hidden.dtype)
        *layers, last = self.model.layers
        for layer in layers:
            hidden = layer(hidden, rope, batch, None, observe)
        result: torch.Tensor = last(hidden, rope, batch, batch.outputs, observe)
        return result


def prefill_groups(lengths: Sequence[int], tiled: bool) -> list[list[int]]:
    """Divide prompts, by their places, into passes.

    Args:
        lengths: Positions of each.
        tiled: Whether only prompts shorter than a tile share a pass.
    """
    places = range(len(lengths))
    if not tiled:
        return [list(places)]
    shared = [each for each in places if lengths[each] < TILE_ROWS]
    alone = [[each] for each in places if lengths[each] >= TILE_ROWS]
    return [shared, *alone] if shared else alone


def _span(longest: int, step: int, capacity: int) -> int:
    return min(-(-longest // step) * step, capacity)
