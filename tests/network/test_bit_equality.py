"""A sequence's numbers are the same to the bit alone and in every batch, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from phi4audio_cli.model.loading import pack_all
from phi4audio_cli.model.quantization import DECODER_LINEAR, Quantization
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.phi4 import Phi4Audio
from tests.network.networks import features, real_transformers_config, small_transformers_dict

KINDS = ("float32", "bfloat16", "int8", "int4")
FRAMES = (5, 61, 400, 1016, 1032, 8)
LENGTHS = (4, 37, 127, 128, 129, 300)
ROWS = 35


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def network_of(sizes: str, kind: str) -> Phi4Audio:
    """Return a random network as the CPU runs it.

    Args:
        sizes: `small`, or `real` for one layer and one block of the published sizes.
        kind: A dtype, or a quantization on float32 activations.
    """
    torch.manual_seed(0)
    if sizes == "small":
        raw = small_transformers_dict(hidden_size=192, intermediate_size=448)
    else:
        raw = real_transformers_config().to_dict()
        raw.update(num_hidden_layers=1, vocab_size=4000)
        raw["audio_config"].update(num_blocks=1)
    network = Phi4Audio(Config.from_dict(raw)).eval().requires_grad_(False)
    network.to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    if kind in ("int8", "int4"):
        for name in [name for name, _ in network.named_parameters()]:
            if DECODER_LINEAR.fullmatch(name):
                Quantization(kind).apply(network, name)
    pack_all(network)
    return network


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers' bits, so that NaN and the sign of zero count, too."""
    return tensor.contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def check_encoder(network: Phi4Audio) -> None:
    clips = [features(frames, seed) for seed, frames in enumerate(FRAMES)]
    alone = [network.encode_clips([clip])[0] for clip in clips]
    for order in (range(5, -1, -1), (3, 0, 5)):
        together = network.encode_clips([clips[each] for each in order])
        for each, row in zip(order, together, strict=True):
            assert torch.equal(bits(row), bits(alone[each])), FRAMES[each]


def check_prefill(network: Phi4Audio) -> None:
    prompts = [torch.randn(each, network.config.hidden_size) for each in LENGTHS]
    prompts = [each.to(network.dtype) for each in prompts]
    expected = network.new_cache(len(prompts), 512)
    alone = [network.prefill(expected, [slot], [each])[0] for slot, each in enumerate(prompts)]
    for order in (range(5, -1, -1), (2, 0)):
        cache = network.new_cache(len(prompts), 512)
        together = network.prefill(cache, list(order), [prompts[each] for each in order])
        for row, each in zip(together, order, strict=True):
            assert torch.equal(bits(row), bits(alone[each])), LENGTHS[each]
            for ours, theirs in zip(
                (*cache.keys, *cache.values), (*expected.keys, *expected.values), strict=True
            ):
                assert torch.equal(bits(ours[each]), bits(theirs[each])), LENGTHS[each]


def check_decode_steps(network: Phi4Audio) -> None:
    caches = network.new_cache(ROWS, 640), network.new_cache(1, 640)
    for tensors in zip(caches[0].keys + caches[0].values, strict=True):
        tensors[0].copy_(torch.randn(tensors[0].shape))
    tokens = [each % 50 for each in range(ROWS)]
    positions = [(each * each * 7) % 600 for each in range(ROWS)]
    expected = []
    for row in range(ROWS):
        for whole, one in zip(
            caches[0].keys + caches[0].values, caches[1].keys + caches[1].values, strict=True
        ):
            one[0] = whole[row]
        expected.append(network.decode_step(caches[1], [tokens[row]], [positions[row]])[0])
    for count in (3, 8, 32, ROWS):
        found = network.decode_step(caches[0], tokens[:count], positions[:count])
        assert torch.equal(bits(found), bits(torch.stack(expected[:count]))), count


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_network(kind: str, threads: int):
    network = network_of("small", kind)
    with torch.inference_mode():
        check_encoder(network)
        check_prefill(network)
        check_decode_steps(network)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_of_the_published_size(kind: str):
    network = network_of("real", kind)
    with torch.inference_mode():
        check_encoder(network)
        check_prefill(network)
        check_decode_steps(network)
