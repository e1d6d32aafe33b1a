"""Weights that are pages of their file: no copy, nothing written back, errors before any use."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.safetensors_reader import map_tensor, read_tensor, read_tensor_index
from phi4audio_cli.errors import CheckpointError


def test_a_mapped_tensor_is_the_one_that_is_read(original):
    for info in read_tensor_index(original).values():
        mapped = map_tensor(info)
        assert mapped.dtype == info.dtype
        assert torch.equal(mapped, read_tensor(info))


def test_writes_to_a_mapped_tensor_do_not_reach_the_file(original):
    info = next(iter(read_tensor_index(original).values()))
    before = read_tensor(info)
    map_tensor(info).zero_()
    assert torch.equal(read_tensor(info), before)
    assert bool(before.any())


def test_a_mapped_tensor_survives_deletion_of_its_file(original):
    info = next(iter(read_tensor_index(original).values()))
    before, mapped = read_tensor(info), map_tensor(info)
    info.file.unlink()
    info.file.write_bytes(b"another")
    assert torch.equal(mapped, before)


def test_a_file_that_ends_too_early_is_refused(original):
    info = list(read_tensor_index(original).values())[-1]
    size = info.file.stat().st_size
    with info.file.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(CheckpointError, match="ends inside the tensor"):
        map_tensor(info)


def test_a_checkpoint_gives_the_same_tensors_mapped(original):
    for dtype in (None, torch.float32, torch.bfloat16):
        checkpoint = replace(open_checkpoint(original), dtype=dtype)
        mapped = dict(checkpoint.mapped_tensors())
        for name, tensor in checkpoint.tensors():
            assert mapped[name].dtype == tensor.dtype
            assert torch.equal(mapped[name], tensor)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a change of the file may not show")
def test_a_weight_that_fits_is_not_copied(original):
    """It is the file's memory, so what happens to the file happens to it."""
    checkpoint = open_checkpoint(original)
    name = next(each for each in checkpoint.expected_shapes if each.endswith("embed_tokens.weight"))
    mapped = dict(checkpoint.mapped_tensors())[name]
    info = checkpoint.stored_tensors[name]
    with info.file.open("r+b") as file:
        file.seek(info.offset)
        file.write(b"\x00" * info.nbytes)
    assert not mapped.any()
