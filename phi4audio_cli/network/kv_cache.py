"""Keys and values of the sequences in progress, each sequence in a slot of its own.

A sequence is stored from its slot's first position on, without padding. So a slot can take a new
sequence whenever it is free, whatever the others are doing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from phi4audio_cli.network.config import Config


class KVCache:
    """The KV cache of all layers.

    Args:
        config: Of the network.
        num_slots: Sequences it can hold.
        capacity: Positions a sequence can have.
        device: Where it is kept.
        dtype: Of keys and values.
    """

    keys: list[torch.Tensor]
    """One tensor a layer, shape (slots, key/value heads, capacity, head width)."""
    values: list[torch.Tensor]
    """As `keys`."""

    def __init__(
        self,
        config: Config,
        num_slots: int,
        capacity: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.num_slots = num_slots
        self.capacity = capacity
        shape = (num_slots, config.num_key_value_heads, capacity, config.head_dim)
        # Zeros: positions beyond a sequence's end are multiplied by 0, and 0 times NaN is NaN.
        layers = range(config.num_hidden_layers)
        self.keys = [_zeros(shape, device, dtype) for _ in layers]
        self.values = [_zeros(shape, device, dtype) for _ in layers]

    def grow(self, capacity: int) -> None:
        """Extend the slots; stored positions stay."""
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                shape = (*old.shape[:2], capacity, old.shape[3])
                tensors[layer] = _zeros(shape, old.device, old.dtype)
                tensors[layer][:, :, : self.capacity] = old
        self.capacity = capacity

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot to another slot."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def zero_slot(self, slot: int) -> None:
        """Set a slot to zero, so that numbers that aren't finite reach no later sequence."""
        for tensor in (*self.keys, *self.values):
            tensor[slot].zero_()


def _zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return zeros that take memory on a CPU only where they are written: slots may stay free."""
    if device.type != "cpu":
        return torch.zeros(*shape, device=device, dtype=dtype)
    buffer = np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(buffer).view(dtype).view(*shape)
