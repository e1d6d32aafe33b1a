"""Shards as the safetensors library reads them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from phi4audio_cli.checkpoint.safetensors_reader import read_tensor, read_tensor_index
from phi4audio_cli.checkpoint.safetensors_writer import TensorSpec, plan_shards, write_shards


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["F32", "BF16"]), st.integers(0, 40)), min_size=1),
    st.integers(1, 200),
)
def test_safetensors_reads_the_written_shards(tmp_path_factory, sizes, max_bytes):
    folder = tmp_path_factory.mktemp("written")
    dtypes = {"F32": torch.float32, "BF16": torch.bfloat16}
    tensors = {f"t{i}": torch.randn(n).to(dtypes[kind]) for i, (kind, n) in enumerate(sizes)}
    planned = [TensorSpec(name, t.dtype, tuple(t.shape)) for name, t in tensors.items()]
    shards = plan_shards(planned, max_bytes)
    written = []
    write_shards(folder, shards, lambda name: tensors[name].chunk(3), written.append)
    assert sum(written) == sum(t.nbytes for t in planned)
    infos = read_tensor_index(folder)
    assert infos.keys() == tensors.keys()
    for shard in shards:
        data = (folder / shard.file).read_bytes()
        assert len(data) == shard.nbytes
        for name, tensor in load(data).items():
            assert torch.equal(tensor, tensors[name])
            assert torch.equal(read_tensor(infos[name]), tensors[name])
            assert infos[name].offset % tensor.dtype.itemsize == 0


def test_a_tensor_of_another_size_than_planned_is_refused(tmp_path):
    shards = plan_shards([TensorSpec("x", torch.float32, (2,))], 100)
    with pytest.raises(ValueError, match="x has 12 bytes, not 8"):
        write_shards(tmp_path, shards, lambda name: [torch.zeros(3)], lambda count: None)
