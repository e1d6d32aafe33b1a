"""What a forward pass of the decoder extends and attends to, for each kind of pass.

Most of a layer works on each position by itself. Only attention needs to know which sequences the
positions of a pass, (rows, n, width), belong to: it hands each layer's queries, keys and values to
one of these classes, which writes keys and values to the KV cache and attends to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn import functional

from phi4audio_cli.network.kv_cache import KVCache

SPAN_STEP = 16
"""Decode steps attend to whole multiples of so many positions."""


Outputs = tuple[torch.Tensor, torch.Tensor]
"""Row and place of some inputs, each of shape (outputs,)."""


class Batch(Protocol):
    """The sequences that a forward pass extends."""

    @property
    def positions(self) -> torch.Tensor:
        """Of each input within its sequence, shape (rows, n)."""
        ...

    @property
    def length(self) -> int:
        """Of the longest sequence afterwards; it selects LongRoPE's factors."""
        ...

    @property
    def outputs(self) -> Outputs | None:
        """Which inputs the result is wanted of; None: all."""
        ...

    def attend(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Write a layer's new keys and values to the cache, and attend.

        Args:
            layer: Index of the layer.
            queries: Shape (rows, n, heads, head width).
            keys: Shape (rows, n, key/value heads, head width).
            values: As `keys`.

        Returns:
            Shape (rows, n, heads, head width).
        """
        ...


class PackedPrefill:
    """Whole prompts end to end, each attended to alone: fastest on a CPU.

    Args:
        cache: Where keys and values are written.
        slots: The slot of each prompt.
        lengths: Positions of each prompt.
        window: Sliding window in positions; None: no limit.
        shape: Rows and positions of the inputs; those behind the last prompt are filling.
        outputs: How many inputs the result is wanted of: each prompt's last, the last one's again
            for the rest.
    """

    def __init__(
        self,
        cache: KVCache,
        slots: Sequence[int],
        lengths: Sequence[int],
        window: int | None,
        shape: tuple[int, int],
        outputs: int,
    ) -> None:
        self.cache, self.slots, self.lengths = cache, slots, list(lengths)
        device = cache.keys[0].device
        self.length = max(lengths)
        self.filling = shape[0] * shape[1] - sum(lengths)
        positions = [torch.arange(each, device=device) for each in (*lengths, self.filling)]
        self.positions = torch.cat(positions).view(shape)
        ends = torch.tensor(self.lengths, device=device).cumsum(0) - 1
        ends = torch.cat([ends, ends[-1:].expand(outputs - len(ends))])
        self.outputs = ends // shape[1], ends % shape[1]
        self.masks = [_window_mask(0, each, window, device) for each in self.lengths]

    def attend(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Batch.attend`."""
        joined = [each.flatten(0, 1) for each in (queries, keys, values)]
        filling = joined[0][len(joined[0]) - self.filling :]
        parts = (torch.split(each[: sum(self.lengths)], self.lengths) for each in joined)
        attended = []
        for slot, mask, q, k, v in zip(self.slots, self.masks, *parts, strict=True):
            k, v = k.transpose(0, 1), v.transpose(0, 1)
            self.cache.keys[layer][slot, :, : len(q)] = k
            self.cache.values[layer][slot, :, : len(q)] = v
            attended.append(_attend_one(q, k, v, mask))
        return torch.cat([*attended, filling]).view(queries.shape)


class PaddedPrefill:
    """Whole prompts padded to one length: one attention for all, fastest on a GPU.

    The padding is behind each prompt, where causal attention never looks.

    Args:
        cache: Where keys and values are written.
        slots: The slot of each prompt.
        lengths: Positions of each prompt.
        window: Sliding window in positions; None: no limit.
    """

    def __init__(
        self, cache: KVCache, slots: Sequence[int], lengths: Sequence[int], window: int | None
    ) -> None:
        self.cache = cache
        device = cache.keys[0].device
        self.length = max(lengths)
        self.slots = torch.tensor(slots, device=device)
        self.positions = torch.arange(self.length, device=device)[None]
        ends = torch.tensor(lengths, device=device) - 1
        self.outputs = torch.arange(len(ends), device=device), ends
        self.mask = _window_mask(0, self.length, window, device)

    def attend(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Batch.attend`."""
        q, k, v = (each.transpose(1, 2) for each in (queries, keys, values))
        self.cache.keys[layer][self.slots, :, : self.length] = k
        self.cache.values[layer][self.slots, :, : self.length] = v
        return _attend(q, k, v, self.mask).transpose(1, 2)


class DecodeStep:
    """One new position of each sequence, sequences being those of the first slots.

    Args:
        cache: Where keys and values are.
        positions: Of the new inputs, shape (sequences,).
        span: Positions that are attended to, more than any of `positions`.
        length: Of the longest sequence afterwards.
        window: Sliding window in positions; None: no limit.
        filling: How many inputs at the end are of no sequence.
    """

    outputs = None

    def __init__(
        self,
        cache: KVCache,
        positions: torch.Tensor,
        span: int,
        length: int,
        window: int | None,
        filling: int = 0,
    ) -> None:
        self.cache, self.span, self.length = cache, span, length
        self.positions = positions[:, None]
        self.at = positions = positions[: len(positions) - filling]
        self.rows = torch.arange(len(positions), device=positions.device)
        keys = torch.arange(span, device=positions.device)
        seen = keys <= positions[:, None]
        if window is not None:
            seen &= keys > positions[:, None] - window
        dtype = cache.keys[0].dtype
        none = torch.zeros((), dtype=dtype, device=positions.device)
        # As what is added to scores: of a boolean mask each layer would make it again.
        self.mask = torch.where(seen, none, torch.finfo(dtype).min)[:, None, None]

    def attend(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Batch.attend`."""
        all_keys, all_values = self.cache.keys[layer], self.cache.values[layer]
        count = len(self.rows)
        all_keys[self.rows, :, self.at] = keys[:count, 0]
        all_values[self.rows, :, self.at] = values[:count, 0]
        attended = _attend_one_each(
            queries[:count, 0],
            all_keys[:count, :, : self.span],
            all_values[:count, :, : self.span],
            self.mask,
        )[:, None]
        return torch.cat([attended, queries[count:]]) if count < len(queries) else attended


class Rescore:
    """Positions of one sequence that are in the cache already, computed again.

    Args:
        cache: Where keys and values are.
        slot: Of the sequence.
        start: Position of the first.
        count: How many.
        length: Of the whole sequence, which selected LongRoPE's factors.
        window: Sliding window in positions; None: no limit.
    """

    outputs = None

    def __init__(
        self,
        cache: KVCache,
        slot: int,
        start: int,
        count: int,
        length: int,
        window: int | None,
    ) -> None:
        device = cache.keys[0].device
        self.cache, self.slot, self.start, self.length = cache, slot, start, length
        self.stop = start + count
        self.positions = torch.arange(start, self.stop, device=device)[None]
        self.mask = _seen(start, self.stop, window, device)

    def attend(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Batch.attend`."""
        found = []
        for tensors, new in ((self.cache.keys, keys), (self.cache.values, values)):
            sequence = tensors[layer][self.slot, :, : self.stop]
            sequence[:, self.start :] = new[0].transpose(0, 1)
            found.append(sequence)
        return _attend_one(queries[0], found[0], found[1], self.mask)[None]


def _attend_one(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attend within one sequence; causally where there is no mask.

    Args:
        queries: Shape (n, heads, head width).
        keys: Shape (key/value heads, positions, head width).
        values: As `keys`.
        mask: Boolean, shape (n, positions).

    Returns:
        Shape (n, heads, head width).
    """
    attended = _attend(queries.transpose(0, 1)[None], keys[None], values[None], mask)
    return attended[0].transpose(0, 1)


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attend with (rows, heads, n, head width); causally where there is no mask.

    Query heads share key/value heads. Where no fused kernel of the device knows that, keys and
    values are repeated: SDPA's fallback would hold all scores in memory.
    """
    grouped = _has_grouped_kernel(queries, keys, values, mask)
    if not grouped:
        shared = queries.shape[1] // keys.shape[1]
        keys, values = (each.repeat_interleave(shared, dim=1) for each in (keys, values))
    return functional.scaled_dot_product_attention(
        queries, keys, values, mask, is_causal=mask is None, enable_gqa=grouped
    )


def _seen(start: int, stop: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Mark the positions that those from `start` to `stop` attend to, (stop - start, stop)."""
    keys = torch.arange(stop, device=device)
    queries = keys[start:, None]
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)


def _window_mask(
    start: int, stop: int, window: int | None, device: torch.device
) -> torch.Tensor | None:
    """Return a mask only where causal attention alone would see too much."""
    if window is None or stop <= window:
        return None
    return _seen(start, stop, window, device)


def _attend_one_each(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attend with one query of each sequence: (rows, heads, head width).

    On a GPU the query heads that share a key/value head are treated as queries at one position, so
    nothing is repeated. On a CPU the kernel knows shared heads, and only with a single query do a
    row's bits not depend on the span.
    """
    if queries.device.type == "cpu":
        return _attend(queries[:, :, None], keys, values, mask)[:, :, 0]
    grouped = queries.reshape(len(queries), keys.shape[1], -1, queries.shape[-1])
    attended = functional.scaled_dot_product_attention(grouped, keys, values, mask)
    return attended.flatten(1, 2)


def _has_grouped_kernel(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> bool:
    """Whether a fused kernel takes fewer key/value heads than query heads."""
    if queries.device.type != "cuda":
        return queries.device.type == "cpu"
    return can_use_flash_attention(SDPAParams(queries, keys, values, mask, 0.0, mask is None, True))
