import json

import pytest

from phi4audio_cli.checkpoint.layout import detect, is_speech_lora, is_vision, native_name
from phi4audio_cli.errors import CheckpointError

ENCODER = "model.embed_tokens_extend.audio_embed.encoder.encoders.3"
AUDIO = "model.embed_tokens_extend.audio_embed"


@pytest.mark.parametrize(
    ("stored", "native"),
    [
        (
            f"{ENCODER}.feed_forward_in.net.0.linear.bias",
            f"{ENCODER}.feed_forward_in.gate_up_proj.bias",
        ),
        (
            f"{ENCODER}.feed_forward_out.net.2.weight",
            f"{ENCODER}.feed_forward_out.down_proj.weight",
        ),
        (f"{ENCODER}.self_attn.linear_q.weight", f"{ENCODER}.self_attn.q_proj.weight"),
        (f"{ENCODER}.self_attn.linear_out.bias", f"{ENCODER}.self_attn.o_proj.bias"),
        (f"{AUDIO}.audio_projection.speech.0.weight", f"{AUDIO}.up_proj_for_speech.weight"),
        (f"{AUDIO}.audio_projection.speech.2.bias", f"{AUDIO}.down_proj_for_speech.bias"),
        ("model.layers.0.mlp.down_proj.base_layer.weight", "model.layers.0.mlp.down_proj.weight"),
        ("model.norm.weight", "model.norm.weight"),
    ],
)
def test_original_names_become_native_and_native_ones_stay(stored, native):
    assert native_name(stored) == native
    assert native_name(native) == native


def test_the_maker_and_the_reader_name_every_tensor_alike(maker):
    from random_checkpoint.tensors import canonical  # found where the maker was loaded

    for name in maker.native_shapes(maker.SMALL):
        if not is_vision(name):
            assert native_name(canonical(name)) == name


def test_the_vision_of_both_layouts_is_told_from_audio(maker):
    native = maker.native_shapes(maker.SMALL)
    original = dict(maker.original_shapes(native, maker.SMALL))
    vision = [name for name in native if "image_embed" in name or "vision_speech" in name]
    assert sorted(filter(is_vision, native)) == sorted(vision)
    assert sum(map(is_vision, original)) == len(vision) + 2 * 4 * maker.SMALL.layers
    assert not any(is_vision(name) and is_speech_lora(name) for name in original)


def test_detects_the_layout(original, native):
    names = ["model.norm.weight"]
    assert detect(json.loads((original / "config.json").read_text()), names, "") == "original"
    config = json.loads((native / "config.json").read_text())
    assert detect(config, [*names, "model.embed_tokens_extend.image_embed.x"], "") == "native"
    assert detect(config, names, "") == "stripped"


def test_another_architecture_is_refused():
    with pytest.raises(CheckpointError, match=r"here: .*'llama'"):
        detect({"model_type": "llama"}, [], "here")
