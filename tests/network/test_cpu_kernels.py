"""Decoder layers on a CPU: another order of multiplication, the same answers."""

from __future__ import annotations

import pytest
import torch
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.linears import (
    PackedLinear,
    ProjectionForAttention,
    WeightFirstLinear,
    can_pack,
    pack,
    suit_few_rows,
)
from phi4audio_cli.model.local import open_local_backend
from torch import nn

from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.model import linears
from tests.model.demo import demo_requests, tokens
from tests.model.small import prompt, small_model

PARTS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")


@pytest.fixture(params=[True, False], ids=["packed", "weight first"])
def packs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with oneDNN and as without."""
    if request.param and not can_pack():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linears, "can_pack", lambda: request.param)
    monkeypatch.setattr(linears, "PACKED_FROM", 0)
    return bool(request.param)


def linear_names(model: nn.Module, kind: type[nn.Linear]) -> set[str]:
    return {name for name, each in model.named_modules() if isinstance(each, kind)}


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


@pytest.mark.skipif(not can_pack(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("shape", [(1, 1, 24), (5, 1, 24), (1, 7, 24), (3, 24), (1, 200, 24)])
def test_a_packed_layer_is_the_linear_layer_it_was(shape: tuple[int, ...]):
    torch.manual_seed(0)
    plain, ours = nn.Linear(24, 40, bias=False), nn.Linear(24, 40, bias=False)
    ours.load_state_dict(plain.state_dict())
    pack(ours)
    rows = torch.randn(shape)
    assert isinstance(ours, PackedLinear)
    with torch.inference_mode():
        torch.testing.assert_close(ours(rows), plain(rows))
        torch.testing.assert_close(ours(rows.transpose(0, -2)), plain(rows.transpose(0, -2)))
    assert ours.weight.numel() == 24 * 40
    assert ours.weight.nbytes == 4 * 24 * 40


def test_the_whole_decoder_multiplies_so_and_the_encoder_does_not(packs: bool):
    model = small_model()
    names = [name for name, _ in model.named_parameters()]
    encoder = {each: each.data_ptr() for each in model.audio.parameters()}
    suit_few_rows(model)
    layers = range(model.config.num_hidden_layers)
    decoder = {f"model.layers.{n}.{part}" for n in layers for part in PARTS}
    assert linear_names(model, PackedLinear) == (decoder if packs else set())
    assert linear_names(model, WeightFirstLinear) == {"lm_head"} | (set() if packs else decoder)
    assert [name for name, _ in model.named_parameters()] == names
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert {each: each.data_ptr() for each in model.audio.parameters()} == encoder


def test_the_tokens_stay(packs: bool):
    prompts = [prompt(frames, seed) for seed, frames in enumerate((80, 300, 900))]
    plain = [answer.tokens for answer in generate(small_model(), prompts, {0})]
    model = small_model()
    suit_few_rows(model)
    assert [answer.tokens for answer in generate(model, prompts, {0})] == plain


def test_the_demo_says_the_same_packed_or_not_in_any_batch(monkeypatch: pytest.MonkeyPatch):
    requests = demo_requests(60)
    found = []
    for least in (0, 1 << 40):
        monkeypatch.setattr(linears, "PACKED_FROM", least)
        backend = open_local_backend(
            resolve_model("demo", offline=True), device="cpu", dtype="float32"
        )
        found += [tokens(backend, requests, batch_size) for batch_size in (1, 5)]
    assert all(found[0])
    assert all(each == found[0] for each in found)


def test_small_weights_are_not_packed():
    model = small_model()
    suit_few_rows(model)
    assert not linear_names(model, PackedLinear)


def test_other_layers_are_left_alone():
    model = small_model().to(torch.bfloat16)
    suit_few_rows(model)
    assert not linear_names(model, WeightFirstLinear) | linear_names(model, PackedLinear)
