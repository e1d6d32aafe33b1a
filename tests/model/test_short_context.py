"""Decoding across LongRoPE's short context, where all positions change to the long factors."""

from __future__ import annotations

import pytest
import torch
from transformers import Phi4MultimodalForCausalLM

from phi4audio_cli.model.batch_decoder import may_exceed_short_context
from phi4audio_cli.model.inputs import ModelInput
from tests.model.generate import generate
from tests.model.small import prompt
from tests.network.networks import AUDIO_TOKEN, reference_network, small_network

SHORT_CONTEXT = 64


def reference_tokens(one: ModelInput, reference: Phi4MultimodalForCausalLM) -> list[int]:
    """Return greedy tokens, each from a full forward pass of transformers' class."""
    ids = [*one.prefix_ids, *[AUDIO_TOKEN] * one.audio_length, *one.suffix_ids]
    assert one.features is not None
    for _ in range(one.max_new_tokens):
        with torch.no_grad():
            logits = reference(
                input_ids=torch.tensor([ids]),
                audio_input_features=one.features[None],
                audio_embed_sizes=torch.tensor([one.audio_length]),
                use_cache=False,
            ).logits
        ids.append(int(logits[0, -1].argmax()))
    return ids[-one.max_new_tokens :]


@pytest.mark.parametrize("frames", [400, 432, 440, 448, 456, 464, 480])
def test_tokens_are_those_of_full_forward_passes(frames: int):
    """Prompts of 55 to 65 positions and 12 tokens: below, at and beyond the short context."""
    network = small_network(SHORT_CONTEXT)
    one = prompt(frames)
    [output] = generate(network, [one], set())
    assert output.tokens == reference_tokens(one, reference_network(network, SHORT_CONTEXT))


def test_the_long_factors_change_the_tokens():
    """The test above can fail: with the short factors only, the tokens are others."""
    one = prompt(440)
    [switched] = generate(small_network(SHORT_CONTEXT), [one], set())
    [short] = generate(small_network(4096), [one], set())
    assert switched.tokens != short.tokens


def test_prompts_that_may_exceed_the_short_context_are_decoded_alone():
    network = small_network(SHORT_CONTEXT)
    long, short = prompt(440), prompt(80)
    assert may_exceed_short_context(network, long)
    assert not may_exceed_short_context(network, short)
    with pytest.raises(ValueError, match="alone"):
        generate(network, [long, short], set())
