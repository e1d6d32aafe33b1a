"""Layers that don't fit the device: the same logits, weights that stay on the CPU."""

from __future__ import annotations

import torch

from phi4audio_cli.model.placement import Placement
from phi4audio_cli.network.offload import OffloadedLayer
from tests.network.networks import small_network

CPU = torch.device("cpu")


def test_offloaded_layers_give_the_same_logits():
    torch.manual_seed(0)
    prompts = [torch.randn(20, 64), torch.randn(9, 64)]
    logits = []
    for on_device in (2, 1, 0):
        network = small_network()
        Placement(CPU, num_layers=2, num_on_device=on_device).offload(network)
        offloaded = [type(each) is OffloadedLayer for each in network.model.layers]
        assert offloaded == [index >= on_device for index in range(2)]
        cache = network.new_cache(2, 64)
        seen: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            first = network.prefill(cache, [0, 1], prompts)
            step = network.decode_step(cache, [7, 9], [20, 9])
            network.rescore(cache, 0, [7], 20, 21, seen.__setitem__)
        assert list(seen) == [0, 1]
        logits.append(torch.cat([first, step]))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_weights_are_copied_for_each_run_and_not_kept():
    layer = OffloadedLayer(torch.nn.Linear(3, 3), torch.device("meta"))
    assert layer(torch.randn(2, 3, device="meta")).device.type == "meta"
    assert {weight.device.type for weight in layer.parameters()} == {"cpu"}
