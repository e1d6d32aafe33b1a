"""Compare the bits of rows in batches of many sizes; a process of its own runs it.

oneDNN, MKL and torch select their kernels by the processor once a process, and take a lesser one
only from the environment: so a check of another processor's kernels needs another process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import torch

from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.model.batch_decoder import log_normalizers
from phi4audio_cli.network import cpu_kernels
from phi4audio_cli.network.attention import DecodeStep
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.cpu_kernels import TILE_ROWS, Linear, pack
from phi4audio_cli.network.kv_cache import KVCache
from phi4audio_cli.network.quantized_linear import GROUP, Int4Linear, Int8Linear

COUNTS = (1, 2, 3, 5, 8, 13, 16, 17, 32, 33)

LENGTHS = (2, 5, 15, 16, 64, 127, 129, 300)
"""Positions of prompts, which have two at least: one alone counts as a decode step's."""

SHAPES = ((192, 320), (144, 288), (1536, 1024), (3072, 512))
"""Inputs and outputs: of the demo, of the published encoder, and of a decoder layer in part."""

Layer = Callable[[torch.Tensor], torch.Tensor]


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors have the same bits, the sign of zero and NaN included."""
    kind = {4: torch.int32, 2: torch.int16}[left.element_size()]
    return torch.equal(left.contiguous().view(kind), right.contiguous().view(kind))


def layers(inputs: int, outputs: int) -> Iterator[tuple[str, torch.dtype, Layer]]:
    """Yield each kind of linear layer with the dtype of its activations."""
    for dtype in (torch.float32, torch.bfloat16):
        holder = torch.nn.ModuleDict({"layer": Linear(inputs, outputs)}).to(dtype)
        yield f"linear {dtype}", dtype, holder["layer"]
        if dtype == torch.float32:
            pack(holder, "layer")
            yield f"packed {dtype}", dtype, holder["layer"]
        values = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
        yield f"int8 {dtype}", dtype, Int8Linear(values, torch.rand(outputs))
    if inputs % GROUP == 0:
        small = torch.randint(0, 16, (outputs, inputs), dtype=torch.int32)
        scales, zeros = torch.randn(2, outputs, inputs // GROUP).bfloat16()
        yield "int4", torch.bfloat16, Int4Linear(small, scales, zeros)


def different_single_positions(layer: Layer, rows: torch.Tensor) -> list[int]:
    """Return the sizes of decode batches in which a row differs from itself alone."""
    alone = torch.cat([layer(row[None, None]) for row in rows])
    return [n for n in COUNTS if not same(layer(rows[-n:, None]), alone[-n:])]


def different_sequences(layer: Layer, width: int, dtype: torch.dtype) -> list[int]:
    """Return the lengths of sequences that differ in a pass with others from alone."""
    found = []
    for length in LENGTHS:
        rows = torch.randn(length, width).to(dtype)
        before, behind = torch.randn(19, width).to(dtype), torch.randn(90, width).to(dtype)
        if cpu_kernels.needs_tiles(rows.device, dtype, width):
            if length >= TILE_ROWS:  # it never shares a pass
                continue
            alone = layer(cpu_kernels.to_tiles(rows)).flatten(0, 1)[:length]
            joined = layer(cpu_kernels.to_tiles(torch.cat([before, rows, behind]))).flatten(0, 1)
        else:
            alone = layer(rows[None])[0]
            joined = layer(torch.cat([before, rows, behind])[None])[0]
        if not same(alone, joined[19 : 19 + length]):
            found.append(length)
    return found


def different_attention(dtype: torch.dtype) -> list[int]:
    """Return the positions whose attention depends on the other rows of a decode step."""
    raw = json.loads((resolve_model("demo", offline=True) / "config.json").read_text("utf-8"))
    config = Config.from_dict(raw, "demo")
    positions = torch.tensor([0, 1, 15, 16, 40, 127, 128, 300, 511, 512, 900])
    count = len(positions)
    whole = KVCache(config, count, 1024, torch.device("cpu"), dtype)
    for stored in (whole.keys[0], whole.values[0]):
        stored.copy_(torch.randn(stored.shape))
    heads, groups, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    queries = torch.randn(count, 1, heads, width).to(dtype)
    keys, values = torch.randn(2, count, 1, groups, width).to(dtype)
    together = DecodeStep(whole, positions, 1024, 901, None).attend(0, queries, keys, values)
    found = []
    for row, position in enumerate(positions.tolist()):
        one = KVCache(config, 1, 1024, torch.device("cpu"), dtype)
        one.keys[0][0], one.values[0][0] = whole.keys[0][row], whole.values[0][row]
        span = -(-(position + 1) // 16) * 16
        step = DecodeStep(one, positions[row : row + 1], span, position + 1, None)
        part = slice(row, row + 1)
        if not same(step.attend(0, queries[part], keys[part], values[part]), together[part]):
            found.append(position)
    return found


def different_products() -> dict[str, list[int]]:
    found = {}
    for inputs, outputs in SHAPES:
        rows = torch.randn(max(COUNTS), inputs)
        for name, dtype, layer in layers(inputs, outputs):
            where = f"{name}, {inputs} x {outputs}"
            found[f"{where}, decode"] = different_single_positions(layer, rows.to(dtype))
            found[f"{where}, prefill"] = different_sequences(layer, inputs, dtype)
    return found


def different_elements(dtype: torch.dtype) -> list[int]:
    """Return the numbers of frames for which an activation differs from that of a longer clip."""
    numbers = 4 * torch.randn(999, 144).to(dtype)
    whole = cpu_kernels.silu(numbers)
    frames = (*range(1, 60), 301, 998)
    return [n for n in frames if not same(cpu_kernels.silu(numbers[-n:]), whole[-n:])]


def different_normalizers() -> list[int]:
    """Return the rows whose softmax denominator differs alone from that among others."""
    logits = 5 * torch.randn(24, 200_064)
    whole = log_normalizers(logits)
    return [
        row
        for row in range(len(logits))
        if not same(log_normalizers(logits[row : row + 1]), whole[row : row + 1])
    ]


def differences() -> dict[str, list[int]]:
    """Run all checks; return the sizes that differ, by check."""
    found = different_products() | {"log normalizers": different_normalizers()}
    for dtype in (torch.float32, torch.bfloat16):
        found[f"attention {dtype}"] = different_attention(dtype)
        found[f"silu {dtype}"] = different_elements(dtype)
    return {check: sizes for check, sizes in found.items() if sizes}


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.inference_mode():
        json.dump(differences(), sys.stdout)
