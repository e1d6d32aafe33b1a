"""Slots take memory only where rows lie."""

from __future__ import annotations

import sys

import psutil
import pytest
import torch

from phi4audio_cli.model.slots import Slots

from .small import real_config

GB = 2**30


@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_free_slots_take_no_memory(dtype: torch.dtype):
    config = real_config()
    config.num_hidden_layers = 4
    before = psutil.Process().memory_info().rss
    slots = Slots(config, 64, 2048, torch.empty(0, dtype=dtype))
    room = sum(each.nbytes for each in (*slots.keys, *slots.values))
    assert room >= 2 * GB
    assert psutil.Process().memory_info().rss - before < room / 8
    assert slots.keys[3].dtype == dtype
    assert not slots.values[3][63, :, 2040:].any()
