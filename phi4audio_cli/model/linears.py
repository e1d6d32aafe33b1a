"""Linear layers as a CPU multiplies them fastest when there are few rows, as in decode steps."""

from __future__ import annotations

import torch
from torch import nn

from phi4audio_cli.model.network import Phi4AudioForCausalLM

PACKED_FOR = 32
"""Rows that a packed weight is laid out for; any number can be multiplied."""

PACKED_FROM = 1 << 18
"""Numbers in a weight that is packed, at least: a smaller one stays in the cache, and a call into
oneDNN costs more than its product."""


class PackedLinear(nn.Linear):
    """A layer without bias whose float32 weight lies as oneDNN multiplies it.

    Otherwise a library lays a weight out anew for every product, which costs as much as the
    product where the rows are few. The weight has its shape and name, but no storage to look into.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., in_features) to (..., out_features)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            hidden, self.weight, None, "none", [], ""
        )
        return product


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


def can_pack() -> bool:
    """Whether this build of torch has oneDNN's linear layers."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def pack(layer: nn.Linear) -> None:
    """Make a plain layer a packed one; the weight as it lay is let go."""
    packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), PACKED_FOR)
    layer.weight = nn.Parameter(packed, requires_grad=False)
    layer.__class__ = PackedLinear


def suit_few_rows(model: Phi4AudioForCausalLM) -> None:
    """Have the decoder's plain float32 layers on the CPU multiply so; all others stay as they are.

    Large weights are packed, one after the other. The head's is the embedding's, too: it stays as
    it is and comes first in its product, as do small ones, and all where torch can't pack.
    """
    packs = can_pack()
    for name, module in [*model.model.layers.named_modules(), ("lm_head", model.lm_head)]:
        if type(module) is not nn.Linear or not _is_plain(module):
            continue
        if packs and name != "lm_head" and module.weight.numel() >= PACKED_FROM:
            pack(module)
        else:
            attends = name.endswith("qkv_proj")
            module.__class__ = ProjectionForAttention if attends else WeightFirstLinear


def _is_plain(layer: nn.Linear) -> bool:
    bias: torch.Tensor | None = layer.bias
    known = type(layer.weight) in (nn.Parameter, torch.Tensor) and bias is None
    return known and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
