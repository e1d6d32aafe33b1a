"""Decoder layers whose weights stay in the CPU's memory because they don't fit the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call


class OffloadedLayer(nn.Module):
    """A layer that copies its weights to the device whenever it runs.

    Args:
        layer: On the CPU.
        device: Where it runs.
    """

    def __init__(self, layer: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.layer = layer
        self.device = device

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layer; the copies are freed afterwards."""
        weights = {
            name: weight.to(self.device, non_blocking=True)
            for name, weight in self.layer.named_parameters()
        }
        return functional_call(self.layer, weights, args, kwargs)
