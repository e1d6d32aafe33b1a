"""What a long pass needs, worked out beforehand."""

from __future__ import annotations

import pytest

from phi4audio_cli.model import local
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.model.memory import PassCost
from tests.model.small import real_config, save_tokenizer, small_model

HALF_HOUR = 1800.0
GB = 1e9


def cost() -> PassCost:
    return PassCost.of(real_config(), itemsize=2)


def test_the_cache_of_half_an_hour_is_what_is_known():
    """2.9 GB of keys and values in bfloat16 for 22,500 positions."""
    assert 22_500 * cost().cache_per_position == pytest.approx(2.95 * GB, rel=0.01)


def test_half_an_hour_fits_beside_the_weights_of_a_16_gb_device_and_not_in_4():
    assert 4 * GB < cost().bytes_for(HALF_HOUR) < 7 * GB
    assert cost().longest(HALF_HOUR, 7 * GB) == HALF_HOUR
    shorter = cost().longest(HALF_HOUR, 3 * GB)
    assert 300 < shorter < 1500
    assert cost().bytes_for(shorter) <= 3 * GB < cost().bytes_for(shorter + 10)


def test_what_the_encoder_hears_at_once_is_never_cut():
    assert cost().longest(HALF_HOUR, 0) == 40.0
    assert cost().longest(60.0, 0) == 40.0


def backend(tmp_path, attention: str = "sdpa") -> LocalBackend:
    save_tokenizer(tmp_path)
    return LocalBackend(small_model(attention), InputBuilder.from_folder(tmp_path), frozenset(), 8)


def test_the_backend_measures_against_what_is_free(tmp_path, monkeypatch):
    one = backend(tmp_path)
    need = PassCost.of(one.model.config, itemsize=4).bytes_for(600.0)
    monkeypatch.setattr(local, "free_memory", lambda device: need / local.FREE_SHARE)
    assert one.longest_chunk(30.0) == 30.0
    assert one.longest_chunk(600.0) == 600.0
    assert 500 < one.longest_chunk(HALF_HOUR) <= 600.0


def test_long_audio_is_never_eager(tmp_path, monkeypatch):
    one = backend(tmp_path, "eager")
    notes: list[str] = []
    monkeypatch.setattr(one, "on_note", notes.append)
    one.longest_chunk(40.0)
    assert one.model.config._attn_implementation == "eager"
    assert notes == []
    one.longest_chunk(HALF_HOUR)
    assert one.model.config._attn_implementation == "sdpa"
    assert one.model.audio.encoder.config._attn_implementation == "sdpa"
    assert "sdpa" in notes[0]
