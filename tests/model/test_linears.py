"""Decoder layers on a CPU: another order of multiplication, the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.linears import (
    ProjectionForAttention,
    WeightFirstLinear,
    multiply_weight_first,
)
from tests.model.small import prompt, small_model


@pytest.mark.parametrize("kind", [WeightFirstLinear, ProjectionForAttention])
@pytest.mark.parametrize("shape", [(1, 1, 24), (5, 1, 24), (1, 7, 24), (3, 24)])
def test_it_is_the_linear_layer_it_was(shape: tuple[int, ...], kind: type[nn.Linear]):
    torch.manual_seed(0)
    plain, ours = nn.Linear(24, 40, bias=False), kind(24, 40, bias=False)
    ours.load_state_dict(plain.state_dict())
    rows = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(ours(rows), plain(rows))
        assert kind is WeightFirstLinear or ours(rows).is_contiguous()


def test_the_whole_decoder_multiplies_so_and_the_encoder_does_not():
    model = small_model()
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    multiply_weight_first(model)
    changed = {name for name, each in model.named_modules() if isinstance(each, WeightFirstLinear)}
    layers = range(model.config.num_hidden_layers)
    parts = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    assert changed == {"lm_head"} | {f"model.layers.{n}.{part}" for n in layers for part in parts}
    assert {name: each.data_ptr() for name, each in model.state_dict().items()} == before


def test_the_tokens_stay():
    prompts = [prompt(frames, seed) for seed, frames in enumerate((80, 300, 900))]
    plain = [answer.tokens for answer in generate(small_model(), prompts, {0})]
    model = small_model()
    multiply_weight_first(model)
    assert [answer.tokens for answer in generate(model, prompts, {0})] == plain


def test_other_layers_are_left_alone():
    model = small_model().to(torch.bfloat16)
    multiply_weight_first(model)
    assert not any(isinstance(each, WeightFirstLinear) for each in model.modules())
