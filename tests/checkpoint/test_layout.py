"""Checkpoint layouts: names, configurations and shapes."""

import json

import pytest
from transformers import Phi4MultimodalConfig

from phi4audio_cli.checkpoint.checkpoint import expected_tensors
from phi4audio_cli.checkpoint.layout import (
    detect_layout,
    is_speech_lora_tensor,
    is_vision_tensor,
    native_config,
    native_name,
)
from phi4audio_cli.errors import CheckpointError
from tools.make_checkpoint import random_checkpoint
from tools.make_checkpoint.random_tensors import canonical_name

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


def test_native_name_inverts_the_names_of_make_checkpoint():
    for name in random_checkpoint.native_shapes(random_checkpoint.SMALL):
        if not is_vision_tensor(name):
            assert native_name(canonical_name(name)) == name


def test_vision_tensors_are_recognized_in_both_layouts():
    native = random_checkpoint.native_shapes(random_checkpoint.SMALL)
    original = dict(random_checkpoint.original_shapes(native, random_checkpoint.SMALL))
    vision = [name for name in native if "image_embed" in name or "vision_speech" in name]
    assert sorted(filter(is_vision_tensor, native)) == sorted(vision)
    assert (
        sum(map(is_vision_tensor, original)) == len(vision) + 2 * 4 * random_checkpoint.SMALL.layers
    )
    assert not any(is_vision_tensor(name) and is_speech_lora_tensor(name) for name in original)


def test_detects_the_layout(original, native):
    names = ["model.norm.weight"]
    assert (
        detect_layout(json.loads((original / "config.json").read_text()), names, "") == "original"
    )
    config = json.loads((native / "config.json").read_text())
    assert (
        detect_layout(config, [*names, "model.embed_tokens_extend.image_embed.x"], "") == "native"
    )
    assert detect_layout(config, names, "") == "stripped"


def test_another_architecture_is_refused():
    with pytest.raises(CheckpointError, match=r"here: .*'llama'"):
        detect_layout({"model_type": "llama"}, [], "here")


AUDIO_ONLY = 4_289_848_960


def test_the_published_configuration_gives_the_published_size(reference):
    config = json.loads((reference.parent / "original-config.json").read_text())
    native = native_config(config, "original", "")
    expected = expected_tensors(native, "")
    assert expected.parameters == AUDIO_ONLY
    # Linears to and from the decoder's width are all that plain transformers still builds.
    assert expected.vision_parameters == 22_035_478
    assert native["rope_scaling"] == config["rope_scaling"]
    assert native["audio_config"]["bias_max_distance"] == 500
    assert native["audio_config"]["nemo_conv_channels"] == 1024


def test_the_full_size_maker_has_the_real_shapes(reference):
    config = json.loads((reference.parent / "original-config.json").read_text())
    real = expected_tensors(native_config(config, "original", ""), "")
    made = expected_tensors(
        native_config(
            random_checkpoint.original_config(random_checkpoint.SIZES["full"]), "original", ""
        ),
        "",
    )
    assert made.shapes == real.shapes


def test_both_layouts_give_the_same_model():
    original = native_config(
        random_checkpoint.original_config(random_checkpoint.SMALL), "original", ""
    )
    native = native_config(random_checkpoint.native_config(random_checkpoint.SMALL), "native", "")
    one, other = Phi4MultimodalConfig(**original), Phi4MultimodalConfig(**native)
    assert one.vision_config.to_dict() == other.vision_config.to_dict()
    assert one.rope_parameters == other.rope_parameters
    for key, value in native["audio_config"].items():
        assert getattr(one.audio_config, key) == value
    assert expected_tensors(original, "").shapes == expected_tensors(native, "").shapes


def test_the_source_configuration_is_left_as_it_is():
    config = random_checkpoint.original_config(random_checkpoint.SMALL)
    before = json.dumps(config)
    native_config(config, "original", "")
    assert json.dumps(config) == before


def test_an_incomplete_original_configuration_is_refused():
    config = random_checkpoint.original_config(random_checkpoint.SMALL)
    del config["audio_processor"]
    with pytest.raises(CheckpointError, match=r"folder/config.json: lacks 'audio_processor'"):
        native_config(config, "original", "folder/config.json")


def test_a_configuration_transformers_refuses_is_refused():
    config = random_checkpoint.native_config(random_checkpoint.SMALL)
    config["rope_scaling"]["short_factor"] = [1.0]
    with pytest.raises(CheckpointError, match="short_factor"):
        expected_tensors(native_config(config, "native", ""), "")
