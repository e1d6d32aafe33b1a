"""Safetensors files: headers, tensors that are read or mapped, and damaged files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from phi4audio_cli.checkpoint.layout import INDEX_FILE
from phi4audio_cli.checkpoint.safetensors_reader import (
    read_header,
    read_tensor,
    read_tensor_index,
)
from phi4audio_cli.errors import CheckpointError
from tests.checkpoint.checkpoint_edits import edit_json


def test_reads_tensors_written_by_safetensors_into_its_own_memory(tmp_path):
    file = tmp_path / "x.safetensors"
    tensors = {
        "bf16": torch.randn(3, 5).bfloat16(),
        "scalar": torch.tensor(2.5),
        "int": torch.arange(7),
        "empty": torch.zeros(0, 4),
        "bool": torch.tensor([True, False]),
    }
    save_file(tensors, file)
    infos = read_header(file)
    assert infos.keys() == tensors.keys()
    for name, tensor in tensors.items():
        read = read_tensor(infos[name])
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor)
        read.zero_()
        assert torch.equal(read_tensor(infos[name]), tensor)


def test_a_shard_cut_short_is_refused(sharded):
    file = sorted(sharded.glob("*.safetensors"))[1]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"{file.name}: is truncated"):
        read_tensor_index(sharded)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 64, (5).to_bytes(8, "little") + b"{nope"]
)
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*isn't safetensors"):
        read_tensor_index(tmp_path)


def test_a_file_that_shrinks_after_its_header_was_read_is_refused(original):
    infos = read_tensor_index(original)
    last = max(infos.values(), key=lambda info: info.offset)
    last.file.write_bytes(last.file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="ends inside the tensor"):
        read_tensor(last)


def test_an_index_that_names_a_missing_file_is_refused(sharded):
    file = sorted(sharded.glob("*.safetensors"))[-1]
    file.unlink()
    with pytest.raises(CheckpointError, match=f"{file.name}: is missing, though {INDEX_FILE}"):
        read_tensor_index(sharded)


def test_an_index_that_names_a_missing_tensor_is_refused(sharded):
    index = json.loads((sharded / INDEX_FILE).read_text())
    file = index["weight_map"]["model.norm.weight"]
    edit_json(sharded / INDEX_FILE, weight_map=index["weight_map"] | {"model.nowhere.weight": file})
    with pytest.raises(CheckpointError, match=r"model\.nowhere\.weight"):
        read_tensor_index(sharded)


def test_an_index_with_a_file_outside_its_folder_is_refused(sharded):
    edit_json(sharded / INDEX_FILE, weight_map={"x": "../model.safetensors"})
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_tensor_index(sharded)


def test_a_tensor_stored_twice_is_refused(sharded):
    one, other = sorted(sharded.glob("*.safetensors"))[:2]
    save_file(load_file(one) | load_file(other), other)
    with pytest.raises(CheckpointError, match="is stored twice"):
        read_tensor_index(sharded)


def test_shards_without_an_index_are_refused(sharded):
    (sharded / INDEX_FILE).unlink()
    with pytest.raises(CheckpointError, match=f"no {INDEX_FILE}"):
        read_tensor_index(sharded)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickles_are_refused_with_the_reason(original, name):
    (original / "model.safetensors").rename(original / name)
    with pytest.raises(CheckpointError, match=f"{name}: .*pickle.* can run any code"):
        read_tensor_index(original)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no weights"):
        read_tensor_index(tmp_path)


def test_an_unknown_dtype_is_refused(tmp_path):
    header = json.dumps({"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"0")
    with pytest.raises(CheckpointError, match=r"x in .*F4"):
        read_tensor_index(tmp_path)
