"""Configurations: transformers' values and defaults, and refusals that name the setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi4audio_cli.checkpoint.layout import native_config
from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.network.config import AudioConfig, Config
from tests.network.networks import real_transformers_config, transformers_config

SHARED_NAMES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "max_position_embeddings",
    "sliding_window",
    "tie_word_embeddings",
)


@pytest.mark.parametrize("raw", [{}, transformers_config().to_dict()], ids=["empty", "small"])
def test_values_and_defaults_are_those_of_transformers(raw: dict[str, Any]):
    from transformers import Phi4MultimodalConfig

    theirs, ours = Phi4MultimodalConfig(**raw), Config.from_dict(raw)
    for name in SHARED_NAMES:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in AudioConfig.__dataclass_fields__:
        assert getattr(ours.audio, name) == getattr(theirs.audio_config, name), name
    assert ours.audio.nemo_final_size == theirs.audio_config.nemo_final_size
    assert list(ours.eos_token_ids) == theirs.eos_token_id
    assert ours.rope.theta == theirs.rope_parameters["rope_theta"]
    assert ours.rope.partial_rotary_factor == theirs.rope_parameters["partial_rotary_factor"]


def test_the_published_configuration(reference: Path):
    raw = json.loads((reference.parent / "original-config.json").read_text())
    config = Config.from_dict(native_config(raw, "original", ""))
    assert (config.hidden_size, config.head_dim, config.audio.head_dim) == (3072, 128, 64)
    assert config.sliding_window is None  # as wide as the longest sequence
    assert config.audio.bias_max_distance == 500
    assert config.rope.short_context == 4096
    assert config.rope.factor == 32
    assert len(config.rope.short_factor) == len(config.rope.long_factor) == 48


def test_a_window_narrower_than_the_longest_sequence_counts():
    assert Config.from_dict({"sliding_window": 2048}).sliding_window == 2048


@pytest.mark.parametrize("spelling", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize("kind", [("rope_type", "longrope"), ("type", "su")])
def test_longrope_in_all_spellings(spelling: str, kind: tuple[str, str]):
    raw = real_transformers_config().to_dict()
    rope = raw.pop("rope_parameters")
    outer = {name: rope.pop(name) for name in ("rope_theta", "partial_rotary_factor")}
    del rope["rope_type"]
    config = Config.from_dict({**raw, **outer, spelling: {**rope, kind[0]: kind[1]}})
    assert config.rope.short_context == 4096
    assert config.rope.partial_rotary_factor == 0.75
    assert config.rope.long_factor[:3] == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "wide"}, "hidden_size is 'wide', not a positive integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"hidden_size": 100}, "hidden_size is 100, not a multiple of num_attention_heads, 32"),
        ({"num_key_value_heads": 5}, "not a multiple of num_key_value_heads, 5"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and only 'silu' is supported"),
        ({"eos_token_id": "end"}, "eos_token_id is 'end'"),
        ({"audio_config": 3}, "audio_config is 3, not an object"),
        ({"audio_config": {"num_blocks": -1}}, "audio_config: num_blocks is -1"),
        ({"audio_config": {"time_reduction": 4}}, "time_reduction is 4, and only 8"),
        ({"audio_config": {"chunk_size": 18}}, "streaming is not supported"),
        ({"audio_config": {"ext_pw_out_channel": 9}}, "ext_pw_out_channel is 9"),
        ({"audio_config": {"hidden_size": 1000}}, "1000, not a multiple of num_attention_heads"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "short_factor is None, not a list"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}},
            "short_factor has 1 numbers, and a head rotates 48 pairs",
        ),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(CheckpointError) as caught:
        Config.from_dict(changes, "folder/config.json")
    assert message in str(caught.value)
    assert str(caught.value).startswith("folder/config.json")
    assert caught.value.remedy
