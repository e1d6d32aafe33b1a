"""The network and transformers' class: every kind of pass, length and configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import Phi4MultimodalForCausalLM

from phi4audio_cli.network import phi4
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.phi4 import Phi4Audio
from tests.network.networks import (
    AUDIO,
    AUDIO_TOKEN,
    features,
    real_config,
    real_transformers_config,
    reference_network,
    small_config,
    small_network,
)

PREFIX, SUFFIX = [2], [7, 11, 3, 4]
SHORT_CONTEXT = 64
VARIANTS: dict[str, dict[str, Any]] = {
    "longrope": {},
    "default rope": {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
        }
    },
    "sliding window": {"sliding_window": 40},
    "untied head": {"tie_word_embeddings": False},
    "one head each": {"num_key_value_heads": 4},
    "symmetric bias": {"audio_config": {**AUDIO, "bias_symmetric": True, "bias_max_distance": 200}},
}
TOLERANCE = {"rtol": 1e-3, "atol": 5e-4}


@pytest.fixture(params=[True, False], ids=["packed", "padded"])
def packs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Prefill in a CPU's way, and in a GPU's way."""
    monkeypatch.setattr(Phi4Audio, "packs_prefill", request.param)
    return bool(request.param)


def expected_logits(
    reference: Phi4MultimodalForCausalLM, clip: torch.Tensor, tokens: Sequence[int] = ()
) -> torch.Tensor:
    """Return the logits after a prompt and some tokens, from a full pass of transformers' class."""
    count = -(-len(clip) // 8)
    ids = [*PREFIX, *[AUDIO_TOKEN] * count, *SUFFIX, *tokens]
    with torch.no_grad():
        return reference(
            input_ids=torch.tensor([ids]),
            audio_input_features=clip[None],
            audio_embed_sizes=torch.tensor([count]),
            use_cache=False,
            logits_to_keep=1,
        ).logits[0, -1]


def embed_prompt(network: Phi4Audio, clip: torch.Tensor) -> torch.Tensor:
    [audio] = network.encode_clips([clip])
    return torch.cat([network.embed(PREFIX), audio, network.embed(SUFFIX)])


@pytest.mark.parametrize("variant", VARIANTS)
def test_prefill_and_decode_steps_give_the_logits_of_transformers(variant: str, packs: bool):
    network = small_network(**VARIANTS[variant])
    reference = reference_network(network, **VARIANTS[variant])
    clips = [features(frames, seed) for seed, frames in enumerate((300, 41, 700))]
    with torch.inference_mode():
        prompts = [embed_prompt(network, clip) for clip in clips]
        cache = network.new_cache(4, 128)
        logits = network.prefill(cache, [1, 0, 2], prompts)
        torch.testing.assert_close(
            logits, torch.stack([expected_logits(reference, clip) for clip in clips]), **TOLERANCE
        )
        tokens: list[list[int]] = [[], [], []]
        order = [1, 0, 2]  # the prompt in each slot
        lengths = [len(prompts[each]) for each in order]
        logits = logits[order]
        for _ in range(4):
            logits[:, AUDIO_TOKEN] = -torch.inf  # transformers' class would expect audio there
            best = logits.argmax(dim=-1).tolist()
            for slot, token in enumerate(best):
                tokens[slot].append(token)
            logits = network.decode_step(cache, best, lengths)
            lengths = [length + 1 for length in lengths]
    expected = [
        expected_logits(reference, clips[each], tokens[slot]) for slot, each in enumerate(order)
    ]
    torch.testing.assert_close(logits, torch.stack(expected), **TOLERANCE)


@pytest.mark.parametrize("frames", [440, 480, 600, 4160, 8400])
def test_long_audio_beyond_the_short_context_and_beyond_a_window(frames: int, packs: bool):
    network = small_network(SHORT_CONTEXT)
    reference = reference_network(network, SHORT_CONTEXT)
    clip = features(frames)
    with torch.inference_mode():
        prompt = embed_prompt(network, clip)
        cache = network.new_cache(2, len(prompt) + 4)
        logits = network.prefill(cache, [0], [prompt])
        expected = expected_logits(reference, clip)
        torch.testing.assert_close(logits[0], expected, **TOLERANCE)
        if len(prompt) == SHORT_CONTEXT:
            return  # the next step is a new prefill with the long factors
        token = 9
        logits = network.decode_step(cache, [token], [len(prompt)])
        torch.testing.assert_close(
            logits[0], expected_logits(reference, clip, [token]), **TOLERANCE
        )


@pytest.mark.parametrize("variant", ["longrope", "sliding window"])
def test_rescoring_sees_the_queries_of_the_first_pass(variant: str):
    """Queries and keys of all layers are those of one pass over the whole sequence."""
    network = small_network(**VARIANTS[variant])
    tokens = [9, 12, 30, 8]
    clip = features(330)
    with torch.inference_mode():
        prompt = embed_prompt(network, clip)
        start = len(prompt) - 1
        cache, whole = network.new_cache(2, 128), network.new_cache(1, 128)
        network.prefill(cache, [1], [prompt])
        network.prefill(cache, [0], [prompt])
        for index, token in enumerate(tokens):
            network.decode_step(cache, [token] * 2, [len(prompt) + index] * 2)
        seen: dict[int, torch.Tensor] = {}
        said = [SUFFIX[-1], *tokens]
        network.rescore(cache, 1, said, start, start + len(said), seen.__setitem__)
        expected: dict[int, torch.Tensor] = {}
        network.prefill(whole, [0], [torch.cat([prompt, network.embed(tokens)])])
        network.rescore(whole, 0, said, start, start + len(said), expected.__setitem__)
    assert list(seen) == [0, 1]
    for layer, queries in seen.items():
        assert queries.shape == (4, len(said), 16)
        torch.testing.assert_close(queries, expected[layer], **TOLERANCE)
        torch.testing.assert_close(
            cache.keys[layer][1, :, : start + len(said)],
            whole.keys[layer][0, :, : start + len(said)],
            **TOLERANCE,
        )


def test_prompts_in_one_pass_do_not_see_each_other(packs: bool):
    network = small_network()
    torch.manual_seed(0)
    prompts = [torch.randn(length, 64) for length in (7, 40, 1)]
    together, alone = network.new_cache(3, 128), network.new_cache(3, 128)
    with torch.inference_mode():
        logits = network.prefill(together, [2, 0, 1], prompts)
        for row, (slot, prompt) in enumerate(zip([2, 0, 1], prompts, strict=True)):
            [expected] = network.prefill(alone, [slot], [prompt])
            torch.testing.assert_close(logits[row], expected, atol=1e-5, rtol=1e-5)
            for ours, theirs in zip(together.values, alone.values, strict=True):
                torch.testing.assert_close(
                    ours[slot, :, : len(prompt)], theirs[slot, :, : len(prompt)]
                )


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_network_has_the_published_size():
    with torch.device("meta"):
        assert count(Phi4Audio(real_config())) == 4_289_848_960
        assert count(Phi4MultimodalForCausalLM(real_transformers_config())) == 4_743_988_032


@pytest.mark.parametrize("config", [small_config(), small_config(tie_word_embeddings=False)])
def test_tensors_have_the_names_shapes_and_order_of_transformers(config: Config):
    tied = config.tie_word_embeddings
    reference = reference_network(Phi4Audio(config), tie_word_embeddings=tied)
    expected = {
        name: tensor.shape
        for name, tensor in reference.state_dict().items()
        if "image_embed" not in name and "vision" not in name
    }
    ours = {name: tensor.shape for name, tensor in Phi4Audio(config).state_dict().items()}
    assert list(ours.items()) == list(expected.items())


def test_a_pass_is_prefill_a_decode_step_or_rescoring():
    with pytest.raises(NotImplementedError):
        small_network()(torch.tensor([[1, 2]]))


def test_decode_steps_attend_to_whole_spans_within_the_capacity():
    assert phi4._span(1, 16, 128) == 16
    assert phi4._span(17, 16, 128) == 32
    assert phi4._span(120, 16, 125) == 125
