"""Generation across LongRoPE's switch from the short to the long factors."""

from __future__ import annotations

import pytest
import torch
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.writing import may_cross_rope_switch

from tests.model.small import AUDIO_TOKEN, prompt, small_model

SWITCH = 64


def without_cache(one, model) -> list[int]:
    """Greedy tokens, each from a full forward of transformers' own code."""
    ids = [*one.before, *[AUDIO_TOKEN] * one.audio_length, *one.after]
    for _ in range(one.max_new_tokens):
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([ids]),
                audio_input_features=one.features[None],
                audio_embed_sizes=torch.tensor([one.audio_length]),
                use_cache=False,
            ).logits
        ids.append(int(logits[0, -1].argmax()))
    return ids[-one.max_new_tokens :]


@pytest.mark.parametrize("frames", [400, 432, 440, 448, 456, 464, 480])
def test_tokens_are_those_of_a_full_forward(frames: int):
    """Prompts of 55 to 65 positions with 12 tokens to come: before, at and after the switch."""
    model = small_model(switch=SWITCH)
    one = prompt(frames)
    assert generate(model, [one], set())[0].tokens == without_cache(one, model)


def test_the_long_factors_matter():
    """Without the switch the tokens are others: the test above can fail."""
    one = prompt(440)
    switched, plain = small_model(switch=SWITCH), small_model(switch=4096)
    assert generate(switched, [one], set())[0].tokens != generate(plain, [one], set())[0].tokens


def test_rows_that_may_cross_come_alone():
    model = small_model(switch=SWITCH)
    long, short = prompt(440), prompt(80)
    assert may_cross_rope_switch(model, long)
    assert not may_cross_rope_switch(model, short)
    with pytest.raises(ValueError, match="alone"):
        generate(model, [long, short], set())
