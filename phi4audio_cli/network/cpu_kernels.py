"""Matrix products on a CPU: the same bits for a row in every batch, and fast for few rows.

A library chooses the order of a sum by the shape of the product, so a row's last bits may depend on
how many rows there are. `row_invariant` is the one place that rules this out. It rests on what was
measured with torch 2.13 on x86 processors with AVX2, AVX-512 and AMX, with 1, 2 and 8 threads
(docs/performance.md):

- oneDNN's float32 products give a row the same bits in any number of rows from 2 on, and its place
  among them never counts. MKL's, which torch takes by default, don't.
- bfloat16 products of 2 to 32 rows do, too, and so do two products of the same number of rows.
  Between numbers above 32 a processor with AMX changes the order.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

LEAST_ROWS = 2
"""Rows of a product, at least: one alone takes another kernel."""

FEW_ROWS = 32
"""Rows of a narrow product of single positions, at most."""

TILE_ROWS = 128
"""Rows of the tiles that short sequences are joined to where the number of rows counts."""

PACKED_FOR = 32
"""Rows that a packed weight is laid out for; any number can be multiplied."""

KEPT_BYTES = 256 << 20
"""Freed memory that stays with the process, at most."""

MAPPED_FROM = 32 << 20
"""Bytes from which a block comes from the system and goes back to it; glibc takes no more."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As malloc.h of glibc numbers them."""

Product = Callable[[torch.Tensor], torch.Tensor]
"""From (rows, inputs) to (rows, outputs), each row by itself."""


def needs_tiles(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether sequences that share a product must be joined to tiles of a fixed number of rows."""
    return device.type == "cpu" and dtype != torch.float32


def to_tiles(hidden: torch.Tensor) -> torch.Tensor:
    """Cut (n, width) into tiles, (tiles, TILE_ROWS, width), filled up with zeros."""
    filled = functional.pad(hidden, (0, 0, 0, -len(hidden) % TILE_ROWS))
    return filled.view(-1, TILE_ROWS, hidden.shape[-1])


def row_invariant(product: Product, hidden: torch.Tensor) -> torch.Tensor:
    """Apply a product so that a row's bits don't depend on the batch, on a CPU.

    Args:
        product: Of two-dimensional rows.
        hidden: Shape (..., n, inputs). In a narrow dtype each (n, inputs) is a product of its own,
            so n must be the same in every batch; single positions, n = 1, may be as many as they
            are.

    Returns:
        Shape (..., n, outputs).
    """
    if hidden.device.type != "cpu":
        return product(hidden)
    rows = hidden.reshape(-1, hidden.shape[-1]).contiguous()
    parts = [rows] if hidden.dtype == torch.float32 else torch.split(rows, _rows_at_once(hidden))
    results = [_with_least_rows(product, part) for part in parts]
    result = results[0] if len(results) == 1 else torch.cat(results)
    return result.view(*hidden.shape[:-1], -1)


def _rows_at_once(hidden: torch.Tensor) -> int:
    single = hidden.shape[-2] == 1
    return FEW_ROWS if single else hidden.shape[-2]


def _with_least_rows(product: Product, rows: torch.Tensor) -> torch.Tensor:
    count = len(rows)
    if count >= LEAST_ROWS or not count:
        return product(rows)
    return product(functional.pad(rows, (0, 0, 0, LEAST_ROWS - count)))[:count]


def multiply(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Map (rows, inputs) to (rows, outputs) by the library whose bits `row_invariant` relies on."""
    if rows.device.type == "cpu" and rows.dtype == torch.float32 and has_onednn():
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, weight, bias, "none", [], ""
        )
        return result
    return functional.linear(rows, weight, bias)


def silu(hidden: torch.Tensor) -> torch.Tensor:
    """Compute x * sigmoid(x), each number with the same bits wherever it is in the tensor.

    torch's float32 kernel on a CPU takes another exponential for the last numbers of each thread's
    share, and the shares depend on the size of the tensor.
    """
    if hidden.device.type != "cpu" or hidden.dtype != torch.float32:
        return functional.silu(hidden)
    return hidden / torch.neg(hidden).exp_().add_(1)


def linear(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Map (..., n, inputs) to (..., n, outputs), each row with the bits it has in any batch."""
    return row_invariant(lambda rows: multiply(rows, weight, bias), hidden)


class Linear(nn.Linear):
    """`nn.Linear` whose rows have the same bits in every batch on a CPU."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., n, in_features) to (..., n, out_features)."""
        return linear(hidden, self.weight, self.bias)


class Pointwise(nn.Conv1d):
    """A convolution over one frame, computed as the matrix product that it is."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., n, in_channels) to (..., n, out_channels)."""
        return linear(hidden, self.weight[:, :, 0], self.bias)


class PackedLinear(Linear):
    """A layer whose float32 weight is stored as oneDNN multiplies it.

    Otherwise it lays the weight out again for every product, which costs as much as the product
    where the rows are few. The packed weight has its shape, but no readable storage.

    Args:
        layer: Its plain weight is freed with it.
    """

    def __init__(self, layer: Linear | Pointwise) -> None:
        outputs, inputs = layer.weight.shape[:2]
        super().__init__(inputs, outputs, bias=layer.bias is not None, device="meta")
        plain = layer.weight.detach().view(outputs, inputs)
        packed = torch.ops.mkldnn._reorder_linear_weight(plain, PACKED_FOR)
        self.weight = nn.Parameter(packed, requires_grad=False)
        bias = layer.bias
        self.register_parameter("bias", bias if bias is None else nn.Parameter(bias.detach()))


def has_onednn() -> bool:
    """Whether this build of torch has oneDNN's linear layers."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def pack(network: nn.Module, name: str) -> None:
    """Pack the weight of a float32 layer on the CPU; leave any other module as it is.

    Args:
        network: Holds the layer.
        name: The layer's name within the network.
    """
    layer = network.get_submodule(name)
    if not isinstance(layer, Linear | Pointwise) or not has_onednn():
        return
    if _is_plain(layer.weight):
        network.set_submodule(name, PackedLinear(layer))


def _is_plain(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and not weight.is_mkldnn


def tune_malloc() -> bool:
    """Have the C library keep freed memory; return whether it does.

    By default glibc gives the activations of a layer back to the system, and the next layer's first
    use of each page is then a page fault.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library other than glibc
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, MAPPED_FROM))
