import json

import pytest
from transformers import Phi4MultimodalConfig

from phi4audio_cli.checkpoint.config import native_config
from phi4audio_cli.checkpoint.expected import expected_tensors
from phi4audio_cli.errors import CheckpointError

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


def test_the_full_size_maker_has_the_real_shapes(maker, reference):
    config = json.loads((reference.parent / "original-config.json").read_text())
    real = expected_tensors(native_config(config, "original", ""), "")
    made = expected_tensors(
        native_config(maker.original_config(maker.SIZES["full"]), "original", ""), ""
    )
    assert made.shapes == real.shapes


def test_both_layouts_give_the_same_model(maker):
    original = native_config(maker.original_config(maker.SMALL), "original", "")
    native = native_config(maker.native_config(maker.SMALL), "native", "")
    one, other = Phi4MultimodalConfig(**original), Phi4MultimodalConfig(**native)
    assert one.vision_config.to_dict() == other.vision_config.to_dict()
    assert one.rope_parameters == other.rope_parameters
    for key, value in native["audio_config"].items():
        assert getattr(one.audio_config, key) == value
    assert expected_tensors(original, "").shapes == expected_tensors(native, "").shapes


def test_the_source_configuration_is_left_as_it_is(maker):
    config = maker.original_config(maker.SMALL)
    before = json.dumps(config)
    native_config(config, "original", "")
    assert json.dumps(config) == before


def test_an_incomplete_original_configuration_is_refused(maker):
    config = maker.original_config(maker.SMALL)
    del config["audio_processor"]
    with pytest.raises(CheckpointError, match=r"folder/config.json: lacks 'audio_processor'"):
        native_config(config, "original", "folder/config.json")


def test_a_configuration_transformers_refuses_is_refused(maker):
    config = maker.native_config(maker.SMALL)
    config["rope_scaling"]["short_factor"] = [1.0]
    with pytest.raises(CheckpointError, match="short_factor"):
        expected_tensors(native_config(config, "native", ""), "")
