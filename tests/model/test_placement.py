"""Placement of the weights: on the device, or some layers in the CPU's memory."""

from __future__ import annotations

import pytest
import torch

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.placement import Placement, split_layers
from tests.model.generate import generate
from tests.model.small import prompt
from tests.network.networks import small_network

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


def sizes() -> list[int]:
    return [GIB // 4] * 32 + [2 * GIB]


def test_everything_is_on_the_device_where_it_fits():
    placement = split_layers(sizes(), CUDA, free_on_device=16 * GIB, free_on_cpu=0)
    assert not placement.offloads
    assert placement.notice() is None


def test_the_last_layers_stay_on_the_cpu():
    placement = split_layers(sizes(), CUDA, free_on_device=8 * GIB, free_on_cpu=16 * GIB)
    assert placement.offloads
    assert 0 < placement.num_on_device < 32
    used = 2 * GIB + (placement.num_on_device + 1) * GIB // 4
    assert used <= 8 * GIB
    assert placement.device_of("model.layers.0.mlp.down_proj.weight") == CUDA
    assert placement.device_of("model.layers.31.mlp.down_proj.weight") == CPU
    assert placement.device_of("model.embed_tokens.weight") == CUDA
    assert "decoder layers stay" in str(placement.notice())


@pytest.mark.parametrize(
    ("device", "on_device", "on_cpu"),
    [(CPU, GIB, GIB), (CUDA, 8 * GIB, GIB), (CUDA, GIB, 99 * GIB)],
)
def test_too_little_memory_anywhere_is_refused(device, on_device, on_cpu):
    with pytest.raises(ModelError, match="GB are free"):
        split_layers(sizes(), device, on_device, on_cpu)


def test_offloaded_layers_give_the_same_answers():
    network = small_network()
    prompts = [prompt(300, 1), prompt(90, 2)]
    expected = generate(network, prompts, set())
    Placement(CPU, num_layers=2, num_on_device=1).offload(network)
    assert generate(network, prompts, set()) == expected
