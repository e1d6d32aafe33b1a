"""Linear layers as a CPU multiplies them fastest when there are few rows, as in decode steps."""

from __future__ import annotations

import torch
from torch import nn

from phi4audio_cli.model.network import Phi4AudioForCausalLM


class WeightFirstLinear(nn.Linear):
    """Computes (W xᵀ)ᵀ: with 8 rows, matrix libraries do that twice as fast as x Wᵀ in float32.

    A layer without bias; the result lies transposed in memory.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., in_features) to (..., out_features)."""
        rows = hidden.reshape(-1, self.in_features)
        return torch.mm(self.weight, rows.t()).t().view(*hidden.shape[:-1], self.out_features)


def multiply_weight_first(model: Phi4AudioForCausalLM) -> None:
    """Have the decoder's plain float32 layers on the CPU compute so; all others stay as they are.

    The weights are neither moved nor copied.
    """
    for module in [*model.model.layers.modules(), model.lm_head]:
        if type(module) is nn.Linear and _is_plain(module):
            module.__class__ = WeightFirstLinear


def _is_plain(layer: nn.Linear) -> bool:
    bias: torch.Tensor | None = layer.bias
    known = type(layer.weight) in (nn.Parameter, torch.Tensor) and bias is None
    return known and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
