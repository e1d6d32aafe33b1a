"""Linear layers with quantized weights for the CPU, on kernels that torch itself has.

The numbers come from torchao; its own CPU path (0.18) has no 4-bit kernel and widens 8-bit weights
again for every token. torch's kernels read the small weights as they are. They take bfloat16
activations and sum in float32.
"""

from __future__ import annotations

import torch
from torch import nn

from phi4audio_cli.network.cpu_kernels import multiply, row_invariant

GROUP = 32
"""Weights in a row that share a 4-bit scale and zero point."""

MIDDLE = 8
"""Of the 16 values of 4 bits: the kernel computes (value - MIDDLE) * scale + zero."""


class Int8Linear(nn.Module):
    """A linear layer without bias with an 8-bit weight and one scale for each output.

    Args:
        values: int8, shape (outputs, inputs).
        scales: float32, shape (outputs,).
    """

    values: torch.Tensor
    scales: torch.Tensor
    ones: torch.Tensor

    def __init__(self, values: torch.Tensor, scales: torch.Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = values.shape
        self.register_buffer("values", values)
        self.register_buffer("scales", scales)
        # The kernel has bfloat16 scales only: it gets ones, and ours are multiplied afterwards.
        self.register_buffer("ones", torch.ones_like(scales, dtype=torch.bfloat16))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (rows, n, outputs) for (rows, n, inputs), in the dtype of `hidden`.

        The kind of pass selects the kernel, not the number of rows, on which a row's bits would
        depend: single positions, n = 1, take the small weights as they are. For a prompt's many
        positions it is faster to widen the weight once.
        """
        product = self._single if hidden.shape[-2] == 1 else self._many
        return row_invariant(product, hidden)

    def _single(self, rows: torch.Tensor) -> torch.Tensor:
        flat = rows.bfloat16().flatten(0, -2)
        summed = torch._weight_int8pack_mm(flat, self.values, self.ones)
        return (summed * self.scales).to(rows.dtype).view(*rows.shape[:-1], -1)

    def _many(self, rows: torch.Tensor) -> torch.Tensor:
        product = multiply(rows, self.values.to(rows.dtype))
        return (product * self.scales).to(rows.dtype)


class Int4Linear(nn.Module):
    """A linear layer without bias with a 4-bit weight, packed for torch's CPU kernel.

    Args:
        values: int32 from 0 to 15, shape (outputs, inputs).
        scales: bfloat16, shape (outputs, inputs / GROUP).
        zeros: The number that value MIDDLE means; as `scales`.
    """

    values: torch.Tensor
    scales_and_zeros: torch.Tensor

    def __init__(self, values: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = values.shape
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values.contiguous(), 1)
        self.register_buffer("values", packed)
        pairs = torch.stack([scales, zeros], dim=-1).transpose(0, 1)
        self.register_buffer("scales_and_zeros", pairs.contiguous())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (rows, n, outputs) for (rows, n, inputs), in the dtype of `hidden`."""
        return row_invariant(self._product, hidden)

    def _product(self, rows: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows.bfloat16().flatten(0, -2), self.values, GROUP, self.scales_and_zeros
        )
        return product.to(rows.dtype).view(*rows.shape[:-1], -1)
