"""Products on a CPU: the numbers of plain ones, packed weights, and memory that stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from phi4audio_cli.model.loading import pack_all
from phi4audio_cli.network import cpu_kernels
from phi4audio_cli.network.cpu_kernels import (
    Linear,
    PackedLinear,
    Pointwise,
    filled_rows,
    has_onednn,
    multiply,
    pack,
    row_invariant,
    silu,
    to_tiles,
    tune_malloc,
)
from tests.model.generate import generate
from tests.model.small import prompt
from tests.network.networks import small_network

FAULTS = """
import resource
import torch
from phi4audio_cli.network.cpu_kernels import tune_malloc
assert tune_malloc()
torch.set_num_threads(1)
def touch():
    for _ in range(20):
        blocks = [torch.zeros(3_000_000) for _ in range(6)]
        del blocks
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this torch has no oneDNN")


@pytest.mark.parametrize("shape", [(1, 1, 24), (5, 1, 24), (1, 7, 24), (3, 24), (1, 200, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_linear_layer_it_was(shape: tuple[int, ...], bias: bool):
    torch.manual_seed(0)
    holder = nn.ModuleDict({"layer": Linear(24, 40, bias=bias)}).requires_grad_(False)
    layer = holder["layer"]
    rows = torch.randn(shape)
    expected = functional.linear(rows, layer.weight, layer.bias)
    torch.testing.assert_close(layer(rows), expected)
    pack(holder, "layer")
    assert isinstance(holder["layer"], PackedLinear) is has_onednn()
    torch.testing.assert_close(holder["layer"](rows), expected)
    torch.testing.assert_close(holder["layer"](rows.transpose(0, -2)), expected.transpose(0, -2))
    assert [name for name, _ in holder.named_parameters()] == [
        f"layer.{name}" for name in (("weight", "bias") if bias else ("weight",))
    ]


@needs_onednn
def test_a_packed_convolution_over_one_frame_is_what_it_was():
    holder = nn.ModuleDict({"layer": Pointwise(24, 40)}).requires_grad_(False)
    layer, rows = holder["layer"], torch.randn(1, 30, 24)
    expected = nn.Conv1d.forward(layer, rows.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(layer(rows), expected)
    pack(holder, "layer")
    torch.testing.assert_close(holder["layer"](rows), expected)


@needs_onednn
def test_all_float32_layers_are_packed_but_a_shared_head():
    network = small_network()
    pack_all(network)
    plain = [name for name, each in network.named_modules() if type(each) in (Linear, Pointwise)]
    assert plain == ["lm_head"]
    assert network.lm_head.weight is network.model.embed_tokens.weight
    untied = small_network(tie_word_embeddings=False)
    pack_all(untied)
    assert isinstance(untied.lm_head, PackedLinear)


def test_other_dtypes_are_not_packed():
    network = small_network().to(torch.bfloat16)
    pack_all(network)
    assert not any(isinstance(each, PackedLinear) for each in network.modules())


@pytest.mark.parametrize("onednn", [True, False])
def test_tokens_stay_with_and_without_onednn(onednn: bool, monkeypatch: pytest.MonkeyPatch):
    prompts = [prompt(frames, seed) for seed, frames in enumerate((80, 300, 900))]
    plain = [output.tokens for output in generate(small_network(), prompts, {0})]
    monkeypatch.setattr(cpu_kernels, "has_onednn", lambda: onednn)
    network = small_network()
    pack_all(network)
    assert [output.tokens for output in generate(network, prompts, {0})] == plain


@pytest.mark.parametrize(
    ("shape", "dtype", "has_amx", "products"),
    [
        ((1, 1, 600), torch.float32, True, [2]),
        ((70, 1, 600), torch.float32, True, [70]),
        ((3, 128, 600), torch.float32, True, [384]),
        ((1, 1, 600), torch.bfloat16, True, [2]),
        ((70, 1, 600), torch.bfloat16, True, [32, 32, 6]),
        ((33, 1, 600), torch.bfloat16, True, [32, 2]),
        ((3, 128, 600), torch.bfloat16, True, [128, 128, 128]),
        ((1, 515, 600), torch.bfloat16, True, [515]),
        ((70, 1, 600), torch.bfloat16, False, [70]),
        ((1, 1, 600), torch.bfloat16, False, [2]),
        ((70, 1, 512), torch.bfloat16, True, [70]),
        ((3, 128, 512), torch.bfloat16, True, [384]),
    ],
)
def test_products_have_numbers_of_rows_that_give_equal_bits(
    shape, dtype, has_amx, products, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def product(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows[..., 0].numel())
        return 2 * rows

    monkeypatch.setattr(cpu_kernels, "_reorders_narrow_dtypes", lambda: has_amx)
    hidden = torch.randn(shape).to(dtype)
    assert torch.equal(row_invariant(product, hidden), 2 * hidden)
    assert seen == products


@pytest.mark.parametrize(
    ("count", "inputs", "filled"),
    [(1, 448, 2), (3, 448, 4), (9, 448, 16), (65, 448, 80), (257, 448, 288), (257, 3072, 257)],
)
def test_passes_of_narrow_layers_have_few_numbers_of_rows(count: int, inputs: int, filled: int):
    assert filled_rows(count, inputs) == filled


def test_a_large_plain_weight_is_multiplied_in_parts(monkeypatch: pytest.MonkeyPatch):
    rows, weight, bias = torch.randn(5, 64), torch.randn(50, 64), torch.randn(50)
    whole = multiply(rows, weight, bias)
    monkeypatch.setattr(cpu_kernels, "WHOLE_WEIGHT", 1000)
    assert torch.equal(multiply(rows, weight, bias), whole)


def test_tiles_are_filled_up_with_zeros():
    tiles = to_tiles(torch.ones(130, 3))
    assert tiles.shape == (2, 128, 3)
    assert tiles[1, :2].all()
    assert not tiles[1, 2:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silu_has_the_same_bits_at_every_place(dtype: torch.dtype):
    torch.manual_seed(0)
    numbers = (8 * torch.randn(10_007)).to(dtype)
    whole = silu(numbers)
    assert torch.equal(torch.cat([silu(part) for part in numbers.split(7)]), whole)
    torch.testing.assert_close(whole, functional.silu(numbers))
    extreme = torch.tensor([-1e30, -100.0, 0.0, 100.0, 1e30], dtype=dtype)
    torch.testing.assert_close(silu(extreme), functional.silu(extreme))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_pages_are_not_faulted_in_again():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, check=True, text=True
    )
    one_round = 6 * 12_000_000 // 4096
    assert int(done.stdout) < one_round  # with glibc's defaults it is 20 rounds most of the time


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_kernels.sys, "platform", "darwin")
    assert not tune_malloc()
