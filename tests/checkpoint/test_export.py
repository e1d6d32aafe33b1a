"""Plan and files of strip-export."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from phi4audio_cli.checkpoint import open_checkpoint, safetensors_writer
from phi4audio_cli.checkpoint.export import run_export
from phi4audio_cli.errors import CheckpointError, UsageError
from tests.checkpoint.checkpoint_edits import edit_json, edit_weights
from tests.checkpoint.export_helpers import (
    ADAPTER,
    WEIGHTS,
    file_contents,
    folder_entries,
    make_export_plan,
)
from tools.make_checkpoint import random_checkpoint


def test_the_plan_counts_kept_dropped_and_merged_tensors(original):
    native = random_checkpoint.native_shapes(random_checkpoint.SMALL)
    buffers = [name for name in native if ".global_" in name and "audio" in name]
    full = sum(torch.Size(shape).numel() for name, shape in native.items() if name not in buffers)
    table = make_export_plan(original).as_dict()
    assert table["parameters"]["before"] == full
    assert table["parameters"]["after"] == open_checkpoint(original).audio_parameters
    assert table["parameters"]["saved"] == full - table["parameters"]["after"]
    assert table["bytes"]["before"] == (original / WEIGHTS).stat().st_size
    linears = 4 * random_checkpoint.SMALL.layers
    vision = [name for name in native if "image_embed" in name or "vision_speech" in name]
    assert table["tensors"] == {
        "kept": len(native) - len(vision),
        "merged": linears,
        "dropped": len(vision) + 2 * linears,
    }


def test_the_full_size_maker_has_the_published_parameters():
    shapes = random_checkpoint.native_shapes(random_checkpoint.SIZES["full"])
    parameters = (
        torch.Size(shape).numel()
        for name, shape in shapes.items()
        if not name.endswith(("global_mean", "global_invstd"))
    )
    assert sum(parameters) == 4_743_988_032


@pytest.mark.parametrize("layout", ["original", "native", "sharded"])
def test_the_export_has_the_tensors_of_a_loaded_source(request, layout, tmp_path):
    source = request.getfixturevalue(layout)
    out = tmp_path / "deep" / "out"
    table = run_export(make_export_plan(source), out)
    assert table["verified"]["tensors"] == table["tensors"]["kept"]
    assert table["verified"]["merged_and_changed"] == table["tensors"]["merged"] == 8
    assert table["verified"]["parameters"] == table["parameters"]["after"]
    exported = open_checkpoint(out)
    assert (exported.layout, exported.adapter) == ("stripped", None)
    source_tensors = dict(open_checkpoint(source).tensors())
    for name, tensor in load_file(out / WEIGHTS).items():
        assert torch.equal(tensor, source_tensors.pop(name))
    assert not source_tensors
    assert table["bytes"]["after"] == (out / WEIGHTS).stat().st_size
    assert folder_entries(out) == [
        "LICENSE",
        "README.md",
        "config.json",
        "generation_config.json",
        WEIGHTS,
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert folder_entries(out.parent) == ["out"]


def test_small_shards_have_an_index(original, tmp_path):
    plan = make_export_plan(original, max_shard_bytes=100_000)
    run_export(plan, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == len(plan.shards) > 2
    assert index["metadata"]["total_size"] == plan.tensor_bytes
    assert open_checkpoint(tmp_path / "out").expected_shapes == plan.checkpoint.expected_shapes


def test_the_same_input_gives_the_same_bytes(original, tmp_path):
    for name in ("one", "two"):
        run_export(make_export_plan(original), tmp_path / name)
    assert file_contents(tmp_path / "one") == file_contents(tmp_path / "two")


def test_the_export_has_no_path_of_this_machine(original, tmp_path):
    run_export(make_export_plan(original), tmp_path / "out")
    for name, content in file_contents(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_the_export_has_the_requested_dtype(native_float32, tmp_path):
    assert make_export_plan(native_float32).checkpoint.config["dtype"] == "bfloat16"
    assert make_export_plan(native_float32, "keep").checkpoint.config["dtype"] == "float32"
    run_export(make_export_plan(native_float32, dtype="float16"), tmp_path / "out")
    assert {t.dtype for t in load_file(tmp_path / "out" / WEIGHTS).values()} == {torch.float16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_keep_copies_the_weights_and_the_adapter(original, native, tmp_path):
    for source, name in ((original, "o"), (native, "n")):
        table = run_export(make_export_plan(source, "keep"), tmp_path / name)
        assert table["tensors"]["merged"] == 0
        base = dict(open_checkpoint(source, speech_lora="drop").tensors())
        exported = load_file(tmp_path / name / WEIGHTS)
        assert base.keys() == exported.keys()
        assert all(torch.equal(exported[key], tensor) for key, tensor in base.items())
    own = load_file(native / ADAPTER)
    for name in "on":
        exported = load_file(tmp_path / name / ADAPTER)
        assert own.keys() == exported.keys()
        assert all(torch.equal(exported[key], tensor) for key, tensor in own.items())
    merged = dict(open_checkpoint(native).tensors())
    assert all(torch.equal(merged[key], t) for key, t in open_checkpoint(tmp_path / "n").tensors())


def test_loading_an_export_without_the_adapter_fails(native, tmp_path):
    run_export(make_export_plan(native, "drop"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="has no speech LoRA"):
        open_checkpoint(tmp_path / "out")
    assert "does not understand audio" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("mode", ["merge", "keep"])
def test_a_native_checkpoint_marked_as_merged_needs_no_adapter(native, tmp_path, mode):
    (native / "speech-lora").rename(tmp_path / "elsewhere")
    edit_json(native / "config.json", phi4audio={"speech_lora": "merged"})
    run_export(make_export_plan(native, mode), tmp_path / "out")
    exported = load_file(tmp_path / "out" / WEIGHTS)
    stored = load_file(native / WEIGHTS)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in exported.items())
    assert open_checkpoint(tmp_path / "out").adapter is None


def test_a_stripped_source_is_a_usage_error(native, tmp_path):
    run_export(make_export_plan(native), tmp_path / "out")
    with pytest.raises(UsageError, match="has no vision parts"):
        make_export_plan(tmp_path / "out")


def truncate_shard(folder):
    file = sorted(folder.glob("model-*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def lose_shard(folder):
    sorted(folder.glob("model-*.safetensors"))[0].unlink()


def in_last_shard(change):
    def damage(folder):
        edit_weights(sorted(folder.glob("model-*.safetensors"))[-1], change)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate_shard, "is truncated"),
        (lose_shard, "is missing, though"),
        (in_last_shard(lambda t: t.update(unknown=torch.zeros(2))), "unknown in .*no such tensor"),
        (lambda folder: edit_json(folder / "config.json", intermediate_size=40), "has the shape"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: is missing"),
        (lambda folder: edit_json(folder / "config.json", speech_lora=None), "no speech_lora"),
    ],
)
def test_bad_sources_are_refused_before_a_byte_is_written(sharded, tmp_path, damage, message):
    damage(sharded)
    with pytest.raises(CheckpointError, match=message):
        make_export_plan(sharded)
    assert folder_entries(tmp_path) == ["sharded"]


def test_progress_counts_every_byte_of_each_stage(original, tmp_path):
    steps_by_stage = {}
    plan = make_export_plan(original, "keep")
    run_export(
        plan,
        tmp_path / "out",
        progress=lambda stage, *bytes_: steps_by_stage.setdefault(stage, []).append(bytes_),
    )
    assert list(steps_by_stage) == ["writing", "verifying"]
    for steps in steps_by_stage.values():
        assert steps[0] == (0, plan.tensor_bytes)
        assert steps[-1] == (plan.tensor_bytes, plan.tensor_bytes)
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.slow
def test_a_copied_tensor_is_never_in_memory_as_a_whole(tmp_path):
    """A 200 MB tensor is copied with a process that grows by far less."""
    code = """
import resource, sys
from pathlib import Path
import torch
from phi4audio_cli.checkpoint.safetensors_reader import read_blocks, read_header
from phi4audio_cli.checkpoint.safetensors_writer import TensorSpec, plan_shards, write_shards
folder = Path(sys.argv[1])
info = read_header(folder / "in.safetensors")["x"]
plan = plan_shards([TensorSpec("x", torch.bfloat16, info.shape)], 10**9)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
write_shards(folder, plan, lambda n: (p.bfloat16() for p in read_blocks(info)), lambda n: None)
print((peak() - before) * 1024)
"""
    planned = [safetensors_writer.TensorSpec("x", torch.float32, (50, 1 << 20))]
    shard = safetensors_writer.ShardSpec("in.safetensors", tuple(planned))
    safetensors_writer.write_shards(
        tmp_path, (shard,), lambda n: torch.ones(50, 1 << 20), lambda n: None
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 150_000_000
    assert (tmp_path / "model.safetensors").stat().st_size > 100_000_000
