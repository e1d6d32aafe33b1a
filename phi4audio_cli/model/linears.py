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


class ProjectionForAttention(WeightFirstLinear):
    """The same, laid out in rows again: the fused attention of CPUs takes nothing else."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return super().forward(hidden).contiguous()


def multiply_weight_first(model: Phi4AudioForCausalLM) -> None:
    """Have the decoder's plain float32 layers on the CPU compute so; all others stay as they are.

    The weights are neither moved nor copied.
    """
    for name, module in [*model.model.layers.named_modules(), ("lm_head", model.lm_head)]:
        if type(module) is nn.Linear and _is_plain(module):
            attends = name.endswith("qkv_proj")
            module.__class__ = ProjectionForAttention if attends else WeightFirstLinear


def _is_plain(layer: nn.Linear) -> bool:
    bias: torch.Tensor | None = layer.bias
    known = type(layer.weight) in (nn.Parameter, torch.Tensor) and bias is None
    return known and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
