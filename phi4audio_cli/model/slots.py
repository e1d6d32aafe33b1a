"""Keys and values of the rows under way, each row in a slot of its own.

A row is stored from its slot's first position on, without padding. So a slot can take a new row
whenever it is free, whatever the others are doing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from transformers import Phi4MultimodalConfig

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values, each (rows, key/value heads, positions, head width)."""


class Slots:
    """The store of all layers.

    Args:
        config: Of the network.
        count: Rows it can hold.
        capacity: Positions a row can have.
        like: A tensor of the device and dtype.
    """

    def __init__(
        self, config: Phi4MultimodalConfig, count: int, capacity: int, like: torch.Tensor
    ) -> None:
        self.count = count
        self.capacity = capacity
        width = config.hidden_size // config.num_attention_heads
        shape = (count, config.num_key_value_heads, capacity, width)
        # Zeros: what lies beyond a row's end is multiplied by 0, and 0 times NaN is NaN.
        self.keys = [_zeros(shape, like) for _ in range(config.num_hidden_layers)]
        self.values = [_zeros(shape, like) for _ in range(config.num_hidden_layers)]

    def grow(self, capacity: int) -> None:
        """Make room for more positions; what is stored stays."""
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                tensors[layer] = _zeros((*old.shape[:2], capacity, old.shape[3]), old)
                tensors[layer][:, :, : self.capacity] = old
        self.capacity = capacity

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row of `length` positions to another slot."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]

    def clear(self, place: int) -> None:
        """Take numbers that aren't finite out of a slot, so that they reach no later row."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[place].zero_()


class View(Protocol):
    """What a pass of the decoder sees of the slots; stands where transformers has its caches."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int) -> Pair:
        """Store a layer's new keys and values; return all those it attends to."""
        ...


class PromptView:
    """Rows that begin: they attend to nothing but themselves."""

    def __init__(self, slots: Slots, places: Sequence[int]) -> None:
        self.slots = slots
        self.places = places

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int) -> Pair:
        """Store whole prompts, each (key/value heads, n, head width), from the first position."""
        length = keys.shape[2]
        for row, place in enumerate(self.places):
            self.slots.keys[layer_idx][place, :, :length] = keys[row]
            self.slots.values[layer_idx][place, :, :length] = values[row]
        return keys, values


class JoinedView:
    """Prompts end to end in one row of the pass, each with a slot of its own."""

    def __init__(self, slots: Slots, places: Sequence[int], lengths: Sequence[int]) -> None:
        self.slots = slots
        self.places = places
        self.lengths = lengths

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int) -> Pair:
        """Store each prompt's part of (1, key/value heads, all positions, head width)."""
        for tensors, new in ((self.slots.keys, keys), (self.slots.values, values)):
            parts = torch.split(new[0], list(self.lengths), dim=1)
            for place, part in zip(self.places, parts, strict=True):
                tensors[layer_idx][place, :, : part.shape[1]] = part
        return keys, values


class StepView:
    """One new position for each of the first rows.

    Args:
        slots: Where they lie.
        positions: Of the new keys, shape (rows,).
        span: Positions attended to, more than any of `positions`.
    """

    def __init__(self, slots: Slots, positions: torch.Tensor, span: int) -> None:
        self.slots = slots
        self.positions = positions
        self.rows = torch.arange(len(positions), device=positions.device)
        self.span = span

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int) -> Pair:
        """Store one position a row; return the rows up to the span."""
        all_keys, all_values = self.slots.keys[layer_idx], self.slots.values[layer_idx]
        all_keys[self.rows, :, self.positions] = keys[:, :, 0]
        all_values[self.rows, :, self.positions] = values[:, :, 0]
        count = len(self.rows)
        return all_keys[:count, :, : self.span], all_values[:count, :, : self.span]


class StretchView:
    """Some positions of one row, computed anew where they already lie."""

    def __init__(self, slots: Slots, place: int, start: int) -> None:
        self.slots = slots
        self.place = place
        self.start = start

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int) -> Pair:
        """Store the stretch; return the row up to its end."""
        stop = self.start + keys.shape[2]
        found = []
        for tensors, new in ((self.slots.keys, keys), (self.slots.values, values)):
            row = tensors[layer_idx][self.place : self.place + 1, :, :stop]
            row[:, :, self.start :] = new
            found.append(row)
        return found[0], found[1]


def _zeros(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Return zeros that take memory on a CPU only where they are written: slots may stay free."""
    if like.device.type != "cpu":
        return like.new_zeros(*shape)
    room = np.zeros(math.prod(shape) * like.element_size(), np.uint8)
    return torch.from_numpy(room).view(like.dtype).view(*shape)
