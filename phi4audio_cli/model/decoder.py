"""The decoder's passes: reading prompts, writing a token a row, reading an answer again.

The layers are transformers'; where keys and values lie, and what is masked, is settled here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalDecoderLayer,
)

from phi4audio_cli.model.apart import APART
from phi4audio_cli.model.graphs import StepGraphs
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.slots import JoinedView, PromptView, Slots, StepView, StretchView, View

SPAN_STEP = 16
"""Steps attend to whole multiples of so many positions."""

RECORDED_SPAN_STEP = 128
"""The same where each multiple is recorded."""


def rope_switch(model: Phi4AudioForCausalLM) -> int | None:
    """Largest sequence length with LongRoPE's short factors; None without LongRoPE."""
    rope = model.config.rope_parameters
    if rope["rope_type"] != "longrope":
        return None
    length: int = rope["original_max_position_embeddings"]
    return length


def joins_prompts(model: Phi4AudioForCausalLM) -> bool:
    """Whether prompts are read end to end, without padding: what a CPU does best."""
    on_cpu = model.get_input_embeddings().weight.device.type == "cpu"
    config = model.config
    return on_cpu and config._attn_implementation == "sdpa" and config.sliding_window is None


class Decoder:
    """Runs the decoder over slots.

    Args:
        model: On its device, in evaluation mode.
        count: Rows at once, at most.
        capacity: Positions of a row, at most.
    """

    def __init__(self, model: Phi4AudioForCausalLM, count: int, capacity: int) -> None:
        self.model = model
        weight = model.get_input_embeddings().weight
        self.device, self.dtype = weight.device, weight.dtype
        self.slots = Slots(model.config, count, capacity, weight)
        self._turns: dict[bool, tuple[torch.Tensor, torch.Tensor]] = {}
        self._switch = rope_switch(model)
        self._graphs = self._new_graphs()

    def grow(self, capacity: int) -> None:
        """Make room for longer rows."""
        self.slots.grow(capacity)
        self._turns.clear()
        self._graphs = self._new_graphs()

    def _new_graphs(self) -> StepGraphs | None:
        """Return a recorder of steps, where the device has graphs and all layers lie on it."""
        hooked = any(hasattr(layer, "_hf_hook") for layer in self.model.decoder_layers())
        if self.device.type != "cuda" or hooked:
            return None
        return StepGraphs(self._short_step, self.slots.count, self.device)

    def read(self, places: Sequence[int], prompts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Read prompts into slots.

        Args:
            places: The slot of each.
            prompts: Embeddings, each (n, width). All have positions with the same factors.

        Returns:
            Logits of what comes after each, float32, (rows, vocabulary).
        """
        if len(prompts) > 1 and joins_prompts(self.model):
            return self._read_joined(places, prompts)
        # Padding lies behind the prompt, where no earlier position looks.
        padded = torch.nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
        length = padded.shape[1]
        positions = torch.arange(length, device=self.device)[None]
        ends = torch.tensor([len(prompt) - 1 for prompt in prompts])
        hidden = self._layers(
            padded,
            positions,
            self._causal(0, length),
            PromptView(self.slots, places),
            length,
            kept=(torch.arange(len(ends)), ends),
        )
        return self._logits(hidden)

    def _read_joined(self, places: Sequence[int], prompts: Sequence[torch.Tensor]) -> torch.Tensor:
        lengths = [len(prompt) for prompt in prompts]
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        ends = torch.tensor(lengths).cumsum(0) - 1
        with self._attention(APART):
            hidden = self._layers(
                torch.cat(list(prompts))[None],
                positions,
                None,
                JoinedView(self.slots, places, lengths),
                max(lengths),
                kept=(torch.zeros(len(lengths), dtype=torch.long), ends),
                lengths=lengths,
            )
        return self._logits(hidden)

    def step(self, tokens: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """Read one token of each row, rows being those of the first slots.

        Args:
            tokens: One a row.
            positions: Where each stands.

        Returns:
            Logits of the next, float32, (rows, vocabulary).
        """
        longest = max(positions) + 1
        if self._graphs is not None and (self._switch is None or longest <= self._switch):
            return self._graphs.run(tokens, positions, self._span(longest, RECORDED_SPAN_STEP))
        return self._step(
            torch.tensor(tokens, device=self.device),
            torch.tensor(positions, device=self.device),
            self._span(longest, SPAN_STEP),
            longest,
        )

    def _span(self, longest: int, step: int) -> int:
        return min(-(-longest // step) * step, self.slots.capacity)

    def _short_step(self, tokens: torch.Tensor, positions: torch.Tensor, span: int) -> torch.Tensor:
        return self._step(tokens, positions, span, 0)

    def _step(
        self, tokens: torch.Tensor, positions: torch.Tensor, span: int, longest: int
    ) -> torch.Tensor:
        embedded = self.model.get_input_embeddings()(tokens[:, None])
        seen = torch.arange(span, device=self.device) <= positions[:, None]
        if self._window is not None:
            seen &= torch.arange(span, device=self.device) > positions[:, None] - self._window
        with self._masked_attention():
            hidden = self._layers(
                embedded,
                positions[:, None],
                self._mask(seen[:, None, None]),
                StepView(self.slots, positions, span),
                longest,
            )
        return self._logits(hidden[:, 0])

    def read_again(self, place: int, tokens: Sequence[int], start: int, length: int) -> None:
        """Read tokens that a slot holds once more, for those who watch the layers.

        Args:
            place: The row's slot, with all before `start` in it.
            tokens: Whose keys and values lie there.
            start: Position of the first.
            length: Of the row when it ended.
        """
        ids = torch.tensor([list(tokens)], device=self.device)
        stop = start + len(tokens)
        positions = torch.arange(start, stop, device=self.device)[None]
        with self._masked_attention():
            self._layers(
                self.model.get_input_embeddings()(ids),
                positions,
                self._causal(start, stop, always=True),
                StretchView(self.slots, place, start),
                length,
            )

    def _layers(
        self,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        view: View,
        length: int,
        kept: tuple[torch.Tensor, torch.Tensor] | None = None,
        **attention: Any,
    ) -> torch.Tensor:
        """Run all layers.

        Args:
            hidden: Embeddings, shape (rows, n, width).
            positions: Shape (1 or rows, n).
            mask: As the attention in use takes it.
            view: Where keys and values lie.
            length: Picks LongRoPE's factors.
            kept: Rows and places of those whose output is wanted; None: all.
            attention: More that the attention in use takes.

        Returns:
            Shape (rows, n, width), or (kept, width).
        """
        cos, sin = self._rotation(length)
        told = {
            "attention_mask": mask,
            "position_ids": positions,
            "past_key_values": view,
            "position_embeddings": (cos[positions], sin[positions]),
            **attention,
        }
        *layers, last = self.model.decoder_layers()
        for layer in layers:
            hidden = layer(hidden, **told)
        if kept is None:
            hidden = last(hidden, **told)
        elif hasattr(last, "_hf_hook"):  # accelerate moves the layer's weights when it is called
            hidden = last(hidden, **told)[kept]
        else:
            hidden = _end(last, hidden, kept, told)
        normed: torch.Tensor = self.model.model.norm(hidden)
        return normed

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.lm_head(hidden)
        return logits.float()

    def _rotation(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rotations of all positions, (positions, rotated width), for such a length."""
        switch = self._switch
        long = switch is not None and length > switch
        if long not in self._turns:
            known = self.slots.capacity if long or switch is None else switch
            all_positions = torch.arange(known, device=self.device)[None]
            like = torch.empty(0, dtype=self.dtype, device=self.device)
            cos, sin = self.model.model.rotary_emb(like, position_ids=all_positions)
            self._turns[long] = cos[0], sin[0]
        return self._turns[long]

    @property
    def _window(self) -> int | None:
        window: int | None = self.model.config.sliding_window
        return window

    def _causal(self, start: int, stop: int, always: bool = False) -> torch.Tensor | None:
        """Mask for positions from `start` to `should_stop`; None where attention knows without one."""
        plain = self.model.config._attn_implementation != "eager" and self._window is None
        if plain and not always:
            return None
        keys = torch.arange(stop, device=self.device)
        queries = keys[start:, None]
        seen = keys <= queries
        if self._window is not None:
            seen &= keys > queries - self._window
        return self._mask(seen[None, None])

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        """Turn a boolean mask into what is added to scores, once: each layer would do it again."""
        none = torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.where(seen, none, torch.finfo(self.dtype).min)

    def _masked_attention(self) -> AbstractContextManager[None]:
        """Take sdpa where a mask is needed: flash attention has none."""
        chosen = self.model.config._attn_implementation
        return self._attention(chosen if chosen in ("sdpa", "eager") else "sdpa")

    @contextmanager
    def _attention(self, wanted: str) -> Iterator[None]:
        """Have the layers attend in another way for a pass."""
        config = self.model.config
        chosen = config._attn_implementation
        config._attn_implementation_internal = wanted
        try:
            yield
        finally:
            config._attn_implementation_internal = chosen


def _end(
    layer: Phi4MultimodalDecoderLayer,
    hidden: torch.Tensor,
    kept: tuple[torch.Tensor, torch.Tensor],
    told: Mapping[str, Any],
) -> torch.Tensor:
    """Run the last layer; all positions leave their keys, only those kept go on: (kept, width)."""
    attended, _ = layer.self_attn(layer.input_layernorm(hidden), **told)
    rest = hidden[kept] + attended[kept]
    ended: torch.Tensor = rest + layer.mlp(layer.post_attention_layernorm(rest))
    return ended
