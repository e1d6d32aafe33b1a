"""What is chosen where, and what is refused."""

from __future__ import annotations

import pytest
import torch

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model import devices
from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
from phi4audio_cli.model.placement import Placement, plan

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


@pytest.mark.parametrize("name", ["nonsense", "cuda:7", "xpu"])
def test_a_device_that_is_not_there(name: str):
    with pytest.raises(ModelError, match="--device"):
        choose_device(name)


def test_cpu_dtype_follows_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda: False)
    assert choose_dtype("auto", CPU, parameters=10**6) == torch.float32
    assert choose_dtype("auto", CPU, parameters=10**13) == torch.bfloat16
    monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda: True)
    assert choose_dtype("auto", CPU, parameters=10**6) == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_older_gpus_take_float16(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(devices, "is_flash_attn_2_available", lambda: True)
    assert choose_dtype("auto", CUDA, parameters=1) == dtype
    flash = capability >= (8, 0)
    assert choose_attention("auto", CUDA, dtype) == ("flash_attention_2" if flash else "sdpa")


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ModelError, match="bfloat16"):
        choose_dtype("int3", CPU, parameters=1)
    with pytest.raises(ModelError, match="sdpa"):
        choose_attention("xformers", CPU, torch.float32)
    with pytest.raises(ModelError, match="sdpa runs everywhere"):
        choose_attention("flash_attention_2", CPU, torch.float32)


def sizes() -> list[int]:
    return [GIB // 4] * 32 + [2 * GIB]


def test_everything_on_the_device_where_it_fits():
    placement = plan(sizes(), CUDA, free_on_device=16 * GIB, free_on_cpu=0)
    assert not placement.split
    assert placement.note() is None


def test_the_last_layers_stay_on_the_cpu():
    placement = plan(sizes(), CUDA, free_on_device=8 * GIB, free_on_cpu=16 * GIB)
    assert placement.split
    assert 0 < placement.layers_on_device < 32
    used = 2 * GIB + (placement.layers_on_device + 1) * GIB // 4
    assert used <= 8 * GIB
    assert placement.device_of("model.layers.0.mlp.down_proj.weight") == CUDA
    assert placement.device_of("model.layers.31.mlp.down_proj.weight") == CPU
    assert placement.device_of("model.embed_tokens.weight") == CUDA
    assert "decoder layers stay" in str(placement.note())


@pytest.mark.parametrize(
    ("device", "on_device", "on_cpu"),
    [(CPU, GIB, GIB), (CUDA, 8 * GIB, GIB), (CUDA, GIB, 99 * GIB)],
)
def test_too_little_memory_anywhere(device, on_device, on_cpu):
    with pytest.raises(ModelError, match="GB are free"):
        plan(sizes(), device, on_device, on_cpu)


def test_layers_away_answer_the_same():
    """Dispatched by accelerate, with a layer on the CPU, the logits don't change."""
    from tests.model.small import small_model

    model = small_model()
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        Placement(CPU, layers=2, layers_on_device=1).dispatch(model)
        torch.testing.assert_close(model(input_ids=ids).logits, expected)
