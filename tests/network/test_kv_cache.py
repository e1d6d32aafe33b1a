"""The KV cache: memory only where sequences are, and slots that keep their contents."""

from __future__ import annotations

import sys
from dataclasses import replace

import psutil
import pytest
import torch

from phi4audio_cli.network.kv_cache import KVCache
from tests.network.networks import real_config, small_config

GB = 2**30
CPU = torch.device("cpu")


def filled() -> KVCache:
    cache = KVCache(small_config(), 3, 8, CPU, torch.float32)
    for tensor in (*cache.keys, *cache.values):
        tensor.copy_(torch.randn(tensor.shape))
    return cache


@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_free_slots_take_no_memory(dtype: torch.dtype):
    config = replace(real_config(), num_hidden_layers=4)
    before = psutil.Process().memory_info().rss
    cache = KVCache(config, 64, 2048, CPU, dtype)
    room = sum(each.nbytes for each in (*cache.keys, *cache.values))
    assert room >= 2 * GB
    assert psutil.Process().memory_info().rss - before < room / 8
    assert cache.keys[3].dtype == dtype
    assert not cache.values[3][63, :, 2040:].any()


def test_a_grown_cache_keeps_its_contents_and_new_positions_are_zero():
    cache = filled()
    before = [tensor.clone() for tensor in cache.keys]
    cache.grow(20)
    assert cache.capacity == 20
    for old, new in zip(before, cache.keys, strict=True):
        assert torch.equal(new[:, :, :8], old)
        assert not new[:, :, 8:].any()


def test_a_copied_slot_has_the_positions_of_its_source():
    cache = filled()
    kept = cache.values[1][2, :, 5:].clone()
    cache.copy_slot(0, 2, 5)
    assert torch.equal(cache.values[1][2, :, :5], cache.values[1][0, :, :5])
    assert torch.equal(cache.values[1][2, :, 5:], kept)


def test_numbers_that_are_not_finite_leave_with_their_slot():
    cache = filled()
    cache.keys[0][1] = float("nan")
    cache.zero_slot(1)
    assert not cache.keys[0][1].any()
    assert cache.keys[0][0].all()
