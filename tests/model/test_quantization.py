"""Decoder weights of 8 and 4 bits: what they answer, what they weigh, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.cli.app import main
from phi4audio_cli.errors import CheckpointError, ModelError
from phi4audio_cli.model import placement, quantization
from phi4audio_cli.model.loading import build, fill
from phi4audio_cli.model.placement import Placement, plan_placement, total_bytes
from phi4audio_cli.model.quantization import (
    Quantization,
    float32_equivalent,
    parameter_count,
    weight_bytes,
)
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.network.quantized_linear import GROUP, Int4Linear, Int8Linear
from phi4audio_cli.types import Request
from tests.model.demo import demo_requests, tokens
from tests.network.networks import (
    real_transformers_config,
    small_network,
    transformers_config,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
KINDS = ("int8", "int4")
MODULES = {"int8": Int8Linear, "int4": Int4Linear}
DECODER_LINEARS = 4


@pytest.fixture(scope="module")
def backends() -> dict[str, TorchBackend]:
    folder = resolve_model("demo", offline=True)
    return {
        kind: open_torch_backend(folder, device="cpu", dtype="float32", quantize=kind)
        for kind in ("none", *KINDS)
    }


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return demo_requests(100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_answers_nearly_the_same(backends, requests, kind):
    wide, narrow = tokens(backends["none"], requests), tokens(backends[kind], requests)
    same = sum(one == other for one, other in zip(wide, narrow, strict=True))
    assert same >= 0.8 * len(requests)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_batches_do_not_change_answers(backends, requests, kind):
    alone = tokens(backends[kind], requests, 1)
    assert tokens(backends[kind], requests, 4) == alone
    assert tokens(backends[kind], requests, 16) == alone


@pytest.mark.parametrize("kind", KINDS)
def test_only_linear_layers_of_the_decoder_are_quantized(backends, kind):
    model = backends[kind].network
    packed = [name for name, each in model.named_modules() if isinstance(each, MODULES[kind])]
    assert len(packed) == DECODER_LINEARS * len(model.model.layers)
    assert all(name.startswith("model.layers.") for name in packed)
    assert not any(isinstance(each, nn.Linear) for each in model.model.layers.modules())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_counted_as_they_are_stored(backends, kind):
    wide, narrow = backends["none"].network, backends[kind].network
    assert parameter_count(narrow) == parameter_count(wide)
    linears = sum(each.weight.numel() for each in wide.model.layers.modules()
                  if isinstance(each, nn.Linear))  # fmt: skip
    saved = weight_bytes(wide) - weight_bytes(narrow)
    assert saved == pytest.approx(linears * {"int8": 3.0, "int4": 3.375}[kind], rel=0.02)
    with torch.device("meta"):
        empty = Phi4Audio(wide.config)
    planned = total_bytes(empty, torch.float32, Quantization(kind))
    assert planned == pytest.approx(weight_bytes(narrow), rel=0.001)


@pytest.mark.parametrize("kind", KINDS)
def test_a_load_never_holds_two_wide_layers(kind):
    source = small_network()
    model = build(transformers_config().to_dict())
    most = 0

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal most
        for name, value in source.state_dict().items():
            yield name, value
            linears = [each for each in model.model.layers.modules() if isinstance(each, nn.Linear)]
            most = max(most, sum(not each.weight.is_meta for each in linears))

    fill(model, tensors(), torch.float32, Placement(CPU, 2, 2), Quantization(kind))
    assert most == 0
    assert sum(isinstance(each, MODULES[kind]) for each in model.modules()) == 8


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.01), ("int4", 0.1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [1, 7])
def test_products_are_near_and_do_not_depend_on_other_rows(kind, error, dtype, positions):
    torch.manual_seed(0)
    holder = nn.Module()
    holder.linear = nn.Linear(128, 96, bias=False).to(dtype)
    hidden = torch.randn(5, positions, 128, dtype=dtype)
    expected = holder.linear(hidden).float()
    Quantization(kind).apply(holder, "linear.weight")
    product = holder.linear(hidden)
    assert product.dtype == dtype
    assert (product - expected).norm() < error * expected.norm()
    if positions == 1:
        assert torch.equal(holder.linear(hidden[2:3]), product[2:3])


def test_a_gpu_gets_torchaos_own_weights():
    """What is done there runs on the CPU too in 8 bits, and gives the product of our layer."""
    linear = nn.Linear(128, 96, bias=False)
    hidden = torch.randn(2, 7, 128)
    ours = quantization.to_int8(linear.weight)
    quantization.quantize_by_torchao("int8", linear)
    torch.testing.assert_close(linear(hidden), ours(hidden))
    assert parameter_count(linear) == 96 * 128
    assert 96 * 128 < weight_bytes(linear) < 96 * 128 + 10 * 96


def test_a_gpu_gets_the_4_bit_layout_of_its_kernel(monkeypatch):
    given = []
    monkeypatch.setattr(
        quantization.torchao(), "quantize_", lambda module, config: given.append(config)
    )
    quantization.quantize_by_torchao("int4", nn.Linear(128, 96, bias=False))
    assert given[0].int4_packing_format == "tile_packed_to_4d"
    assert given[0].group_size == GROUP


@pytest.mark.parametrize("kind", KINDS)
def test_8_gb_are_enough_for_the_published_checkpoint(monkeypatch, kind):
    model = build(real_transformers_config().to_dict())
    monkeypatch.setattr(placement, "free_memory", lambda device: int(7.6e9))
    assert plan_placement(model, CUDA, torch.bfloat16).offloads
    assert not plan_placement(model, CUDA, torch.bfloat16, Quantization(kind)).offloads


def test_quantized_layers_are_not_left_to_the_cpu(monkeypatch):
    model = build(real_transformers_config().to_dict())
    free = {"cuda": int(4e9), "cpu": int(64e9)}
    monkeypatch.setattr(
        placement, "free_memory", lambda device: free[device.type if device else "cpu"]
    )
    with pytest.raises(ModelError, match="leave out --quantize"):
        plan_placement(model, CUDA, torch.bfloat16, Quantization("int8"))


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_quantized_weights_leave_room_for_a_wider_dtype(kind):
    config = real_transformers_config().to_dict()
    model = build(config)
    quantized = None if kind == "none" else Quantization(kind)
    counted = float32_equivalent(kind, config, parameter_count(model))
    assert 4 * counted == pytest.approx(total_bytes(model, torch.float32, quantized), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "device", "dtype", "message"),
    [
        ("int3", CPU, torch.float32, "int8 or int4"),
        ("int8", torch.device("mps"), torch.float32, "--device cpu"),
        ("int4", CUDA, torch.float16, "--quantize int8"),
    ],
)
def test_an_unavailable_quantization_is_refused(kind, device, dtype, message):
    with pytest.raises(ModelError, match=message):
        Quantization.of(kind, device, dtype)


def test_a_missing_torchao_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ModelError, match=r"pip install 'phi4audio\[quantize\]'"):
        Quantization.of("int8", CPU, torch.float32)


def test_layers_that_do_not_fit_4_bits_are_refused():
    holder = nn.Module()
    holder.linear = nn.Linear(100, 96, bias=False)
    with pytest.raises(CheckpointError, match="--quantize int8"):
        Quantization("int4").apply(holder, "linear.weight")


@pytest.mark.slow
def test_torchao_is_imported_for_quantization_only():
    asked = "import sys, phi4audio_cli.model.torch_backend; print('torchao' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_bench_and_doctor_take_it(capsys):
    shared = ["--model", "demo", "--device", "cpu", "--dtype", "float32", "--offline", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(["bench", *shared, "--quantize", "int8", "--minutes", "0.2"])
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["quantize"] == "int8"
    assert found["weight_bytes"] < 3 * found["parameters"]
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *shared, "--quantize", "int4"])
    assert not ended.value.code
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["listening"]["status"] == "ok"
    assert checks["memory"]["status"] == "ok"
