"""Device and dtype: the choices of `auto`, and refused ones."""

from __future__ import annotations

import pytest
import torch

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.devices import choose_device, choose_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["nonsense", "cuda:7", "xpu"])
def test_a_missing_device_is_refused(name: str):
    with pytest.raises(ModelError, match="--device"):
        choose_device(name)


def test_the_dtype_on_a_cpu_depends_on_its_instructions_and_memory(monkeypatch):
    capabilities: dict[str, object] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_dtype("auto", CPU, parameters=10**6) == torch.float32
    assert choose_dtype("auto", CPU, parameters=10**13) == torch.bfloat16
    capabilities["avx512_bf16"] = True
    assert choose_dtype("auto", CPU, parameters=10**6) == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_older_gpus_take_float16(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", CUDA, parameters=1) == dtype


def test_an_unknown_dtype_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="bfloat16"):
        choose_dtype("int3", CPU, parameters=1)
