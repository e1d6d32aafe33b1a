"""Prompts read end to end in one row: none sees another."""

from __future__ import annotations

import pytest
import torch

from phi4audio_cli.model.apart import attend_apart
from phi4audio_cli.model.decoder import Decoder, joins_prompts
from tests.model.small import small_model


def prompts(model, lengths):
    torch.manual_seed(0)
    return [torch.randn(length, model.config.hidden_size) for length in lengths]


def test_prompts_read_together_give_the_logits_that_each_gives_alone():
    model = small_model()
    assert joins_prompts(model)
    together, alone = Decoder(model, 3, 128), Decoder(model, 3, 128)
    given = prompts(model, (7, 40, 1))
    with torch.inference_mode():
        found = together.read([2, 0, 1], given)
        expected = torch.cat(
            [alone.read([place], [one]) for place, one in zip([2, 0, 1], given, strict=True)]
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(together.slots.keys, alone.slots.keys, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(together.slots.values, alone.slots.values, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_way_the_layers_attend_is_what_it_was_afterwards():
    model = small_model()
    before = model.config._attn_implementation
    with torch.inference_mode():
        Decoder(model, 2, 128).read([0, 1], prompts(model, (5, 6)))
    assert model.config._attn_implementation == before


def test_lengths_that_leave_positions_out_are_refused():
    model = small_model()
    module = model.decoder_layers()[0].self_attn
    one = torch.randn(1, 4, 10, 8)
    with pytest.raises(RuntimeError, match="split"):
        attend_apart(module, one, one, one, lengths=[4, 5])
