"""Matrix products on a CPU: the same bits for a row in every batch, and fast for few rows.

A library chooses the order of a sum by the shape of the product, so a row's last bits may depend on
how many rows there are. `row_invariant` is the one place that rules this out. It rests on what was
measured with torch 2.13 on x86 processors with AVX2, AVX-512 and AMX, with 1, 2 and 8 threads
(docs/performance-exactness.md):

- oneDNN's float32 products give a row the same bits in any number of rows from 2 on, and its place
  among them never counts. MKL's, which torch takes by default, don't.
- bfloat16 products do, too, where a row has at most NARROW_INPUTS numbers or the processor has no
  AMX. With AMX, products of 2 to 32 rows do, and two products of the same number of rows; between
  numbers above 32 the order changes.
"""

from __future__ import annotations

import ctypes
import functools
import platform
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

NARROW_INPUTS = 512
"""Inputs of a layer whose bfloat16 products no processor sums in an order of their own, at most."""

WHOLE_WEIGHT = 1 << 22
"""Numbers of a plain float32 weight that oneDNN takes at once: it copies what it takes."""

KEPT_BYTES = 256 << 20
"""Freed memory that stays with the process, at most."""

MAPPED_FROM = 32 << 20
"""Bytes from which a block comes from the system and goes back to it; glibc takes no more."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As malloc.h of glibc numbers them."""

Product = Callable[[torch.Tensor], torch.Tensor]
"""From (..., inputs) to (..., outputs), each row by itself."""


def needs_tiles(device: torch.device, dtype: torch.dtype, inputs: int) -> bool:
    """Whether sequences that share a product must be joined to tiles of a fixed number of rows.

    Args:
        device: Of the rows.
        dtype: Of the rows.
        inputs: Of the widest layer that they go through.
    """
    return (
        inputs > NARROW_INPUTS
        and device.type == "cpu"
        and dtype != torch.float32
        and _reorders_narrow_dtypes()
    )


@functools.cache
def _reorders_narrow_dtypes() -> bool:
    """Whether bfloat16 sums depend on the number of rows, or might on an unknown processor."""
    has_amx: Callable[[], bool] | None = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return platform.machine() not in ("x86_64", "AMD64") or has_amx is None or has_amx()


def filled_rows(count: int, inputs: int) -> int:
    """Return the rows that a pass of `count` rows is filled up to.

    oneDNN compiles a kernel for every number of rows, which takes a millisecond and 0.6 MB for each
    shape of weight: more than a few rows more where the layers are narrow.

    Args:
        count: One at least.
        inputs: Of the widest layer that they go through.
    """
    if inputs > NARROW_INPUTS or count <= LEAST_ROWS:
        return max(count, LEAST_ROWS)
    step = next((step for most, step in _FILL_STEPS if count <= most), _FILL_STEPS[-1][1])
    return -(-count // step) * step


_FILL_STEPS = ((4, 4), (64, 8), (256, 16), (sys.maxsize, 32))
"""Up to how many rows which multiples are taken."""


def fill(hidden: torch.Tensor, count: int) -> torch.Tensor:
    """Fill (..., n, width) up to `count` rows with zeros."""
    missing = count - hidden.shape[-2]
    return functional.pad(hidden, (0, 0, 0, missing)) if missing else hidden


def to_tiles(hidden: torch.Tensor) -> torch.Tensor:
    """Cut (n, width) into tiles, (tiles, TILE_ROWS, width), filled up with zeros."""
    filled = fill(hidden, len(hidden) + -len(hidden) % TILE_ROWS)
    return filled.view(-1, TILE_ROWS, hidden.shape[-1])


def row_invariant(product: Product, hidden: torch.Tensor) -> torch.Tensor:
    """Apply a product so that a row's bits don't depend on the batch, on a CPU.

    Args:
        product: Of rows, all at once; it leaves all dimensions but the last.
        hidden: Shape (..., n, inputs). Where `needs_tiles` holds, each (n, inputs) is a product of
            its own, so n must be the same in every batch; single positions, n = 1, may be as many
            as they are.

    Returns:
        Shape (..., n, outputs).
    """
    if not hidden.is_cpu:
        return product(hidden)
    width = hidden.shape[-1]
    few = hidden.numel() < LEAST_ROWS * width
    if not few and not needs_tiles(hidden.device, hidden.dtype, width):
        return product(hidden.contiguous())
    rows = hidden.reshape(-1, width).contiguous()
    at_once = FEW_ROWS if hidden.shape[-2] == 1 else hidden.shape[-2]
    results = [_with_least_rows(product, part) for part in torch.split(rows, max(at_once, 1))]
    result = results[0] if len(results) == 1 else torch.cat(results)
    return result.view(*hidden.shape[:-1], -1)


def _with_least_rows(product: Product, rows: torch.Tensor) -> torch.Tensor:
    count = len(rows)
    if count >= LEAST_ROWS or not count:
        return product(rows)
    return product(fill(rows, LEAST_ROWS))[:count]


def multiply(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Map (..., inputs) to (..., outputs) by the library whose bits `row_invariant` relies on."""
    if rows.dtype != torch.float32 or not rows.is_cpu or not has_onednn():
        return functional.linear(rows, weight, bias)
    if weight.is_mkldnn or weight.numel() <= WHOLE_WEIGHT:
        return _onednn_linear()(rows, weight, bias, "none", [], "")
    return _multiply_in_parts(rows, weight, bias)


def _multiply_in_parts(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    outputs = max(1, WHOLE_WEIGHT // weight.shape[1])
    weights = torch.split(weight, outputs)
    biases = [None] * len(weights) if bias is None else torch.split(bias, outputs)
    parts = [multiply(rows, *each) for each in zip(weights, biases, strict=True)]
    return torch.cat(parts, dim=-1)


@functools.cache
def _onednn_linear() -> Callable[..., torch.Tensor]:
    """Return oneDNN's product itself: to find it by name takes as long as a small product."""
    found: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise.default
    return found


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


@functools.cache
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
