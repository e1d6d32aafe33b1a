"""strip-export from the files' side: plan, writing, safety, verification."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from phi4audio_cli.checkpoint import export as module
from phi4audio_cli.checkpoint import open_checkpoint, staging, writer
from phi4audio_cli.checkpoint.export import Request, make_plan, preflight, run_export
from phi4audio_cli.errors import CheckpointError, OutputError, UsageError
from tests.checkpoint.helpers import edit_json, edit_weights

WEIGHTS = "model.safetensors"
ADAPTER = "speech-lora/adapter_model.safetensors"


def plan_of(folder, mode="merge", **options):
    return make_plan(Request(folder, folder.name, mode, **options))


def digest(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_plan_counts_what_is_kept_dropped_and_merged(original, maker):
    native = maker.native_shapes(maker.SMALL)
    buffers = [name for name in native if ".global_" in name and "audio" in name]
    full = sum(torch.Size(shape).numel() for name, shape in native.items() if name not in buffers)
    table = plan_of(original).table()
    assert table["parameters"]["before"] == full
    assert table["parameters"]["after"] == open_checkpoint(original).audio_parameters
    assert table["parameters"]["saved"] == full - table["parameters"]["after"]
    assert table["bytes"]["before"] == (original / WEIGHTS).stat().st_size
    linears = 4 * maker.SMALL.layers
    vision = [name for name in native if "image_embed" in name or "vision_speech" in name]
    assert table["tensors"] == {
        "kept": len(native) - len(vision),
        "merged": linears,
        "dropped": len(vision) + 2 * linears,
    }


def test_the_full_size_maker_has_the_published_parameters(maker):
    shapes = maker.native_shapes(maker.FULL)
    parameters = (
        torch.Size(shape).numel()
        for name, shape in shapes.items()
        if not name.endswith(("global_mean", "global_invstd"))
    )
    assert sum(parameters) == 4_743_988_032


@pytest.mark.parametrize("layout", ["original", "native", "sharded"])
def test_the_export_holds_what_a_load_holds(request, layout, tmp_path):
    source = request.getfixturevalue(layout)
    out = tmp_path / "deep" / "out"
    table = run_export(plan_of(source), out)
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
    assert entries(out) == [
        "LICENSE",
        "README.md",
        "config.json",
        "generation_config.json",
        WEIGHTS,
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert entries(out.parent) == ["out"]


def test_small_shards_have_an_index(original, tmp_path):
    plan = plan_of(original, max_shard_bytes=100_000)
    run_export(plan, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == len(plan.shards) > 2
    assert index["metadata"]["total_size"] == plan.tensor_bytes
    assert open_checkpoint(tmp_path / "out").expected == plan.checkpoint.expected


def test_the_same_input_gives_the_same_bytes(original, tmp_path):
    for name in ("one", "two"):
        run_export(plan_of(original), tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_nothing_of_this_machine_is_in_the_export(original, tmp_path):
    run_export(plan_of(original), tmp_path / "out")
    for name, content in digest(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_dtype_is_what_was_asked_for(native_float32, tmp_path):
    assert plan_of(native_float32).checkpoint.config["dtype"] == "bfloat16"
    assert plan_of(native_float32, "keep").checkpoint.config["dtype"] == "float32"
    run_export(plan_of(native_float32, dtype="float16"), tmp_path / "out")
    assert {t.dtype for t in load_file(tmp_path / "out" / WEIGHTS).values()} == {torch.float16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_keep_leaves_the_weights_and_the_adapter_as_they_were(original, native, tmp_path):
    for source, name in ((original, "o"), (native, "n")):
        table = run_export(plan_of(source, "keep"), tmp_path / name)
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


def test_a_dropped_adapter_is_missed_by_a_load(native, tmp_path):
    run_export(plan_of(native, "drop"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="has no speech LoRA"):
        open_checkpoint(tmp_path / "out")
    assert "does not understand audio" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("mode", ["merge", "keep"])
def test_a_native_copy_that_says_it_is_merged_needs_no_adapter(native, tmp_path, mode):
    (native / "speech-lora").rename(tmp_path / "elsewhere")
    edit_json(native / "config.json", phi4audio={"speech_lora": "merged"})
    run_export(plan_of(native, mode), tmp_path / "out")
    exported = load_file(tmp_path / "out" / WEIGHTS)
    stored = load_file(native / WEIGHTS)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in exported.items())
    assert open_checkpoint(tmp_path / "out").adapter is None


def test_the_root_is_no_place_for_an_export(native):
    with pytest.raises(UsageError, match="root of a disk"):
        run_export(plan_of(native), Path("/"), overwrite=True)


def test_a_stripped_source_is_a_usage_error(native, tmp_path):
    run_export(plan_of(native), tmp_path / "out")
    with pytest.raises(UsageError, match="is stripped already"):
        plan_of(tmp_path / "out")


def spoil_shard(folder):
    file = sorted(folder.glob("model-*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def lose_shard(folder):
    sorted(folder.glob("model-*.safetensors"))[0].unlink()


def in_last_shard(change):
    def spoil(folder):
        edit_weights(sorted(folder.glob("model-*.safetensors"))[-1], change)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_shard, "is cut short"),
        (lose_shard, "is missing, though"),
        (in_last_shard(lambda t: t.update(unknown=torch.zeros(2))), "unknown in .* doesn't have"),
        (lambda folder: edit_json(folder / "config.json", intermediate_size=40), "has shape"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: is missing"),
        (lambda folder: edit_json(folder / "config.json", speech_lora=None), "no speech_lora"),
    ],
)
def test_bad_sources_are_refused_before_a_byte_is_written(sharded, tmp_path, spoil, message):
    spoil(sharded)
    with pytest.raises(CheckpointError, match=message):
        plan_of(sharded)
    assert entries(tmp_path) == ["sharded"]


def test_a_source_that_changes_meanwhile_leaves_nothing(original, tmp_path):
    plan = plan_of(original)
    with (original / WEIGHTS).open("r+b") as file:
        file.truncate(plan.source_bytes - 50_000)
    with pytest.raises(CheckpointError, match="the file ends inside the tensor"):
        run_export(plan, tmp_path / "out")
    assert entries(tmp_path) == ["original"]


@pytest.mark.parametrize("after", [0, 1_000_000, 13_000_000])
def test_a_full_disk_half_way_leaves_nothing(original, tmp_path, monkeypatch, after):
    write = os.write
    written = 0

    def fill(descriptor, data):
        nonlocal written
        if written + len(data) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += len(data)
        return write(descriptor, data)

    monkeypatch.setattr(writer.os, "write", fill)
    with pytest.raises(OutputError, match=r"out: the disk is full \(make room"):
        run_export(plan_of(original), tmp_path / "out")
    assert entries(tmp_path) == ["original"]


def test_a_disk_that_is_too_small_is_seen_before(original, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10_000_000))
    with pytest.raises(OutputError, match=r"needs 0\.08 GB, 0\.01 GB are free"):
        run_export(plan_of(original), tmp_path / "out")
    assert entries(tmp_path) == ["original"]


def test_a_folder_that_is_not_empty_is_left_alone(original, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"isn't empty|holds something else"):
            preflight(plan_of(original), out, overwrite=overwrite)
    assert entries(out) == ["precious.txt"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        preflight(plan_of(original), tmp_path / "file", overwrite=True)


def test_an_empty_folder_is_filled(original, tmp_path):
    (tmp_path / "out").mkdir()
    run_export(plan_of(original), tmp_path / "out")
    assert open_checkpoint(tmp_path / "out").layout == "stripped"


def test_the_source_is_never_overwritten(original):
    for target in (original, original.parent):
        with pytest.raises(UsageError, match="the source lies in the output folder"):
            preflight(plan_of(original), target, overwrite=True)


def test_no_permission_is_an_output_error(original, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="can't be written to"):
        preflight(plan_of(original), tmp_path / "locked" / "out", overwrite=False)
    monkeypatch.undo()

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    plan = plan_of(original)
    monkeypatch.setattr(staging.Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="can't be written: Permission denied"):
        run_export(plan, tmp_path / "out")


@pytest.mark.parametrize("atomic", [True, False])
def test_an_old_export_is_replaced_once_the_new_one_is_verified(
    original, tmp_path, monkeypatch, atomic
):
    if not atomic:
        monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    out = tmp_path / "out"
    run_export(plan_of(original), out)
    (out / "old").write_text("one")
    before = digest(out)

    def fail(folder):
        raise CheckpointError("not the same answers")

    with pytest.raises(CheckpointError, match="not the same answers"):
        run_export(plan_of(original), out, overwrite=True, check=fail)
    assert digest(out) == before
    run_export(plan_of(original, "keep"), out, overwrite=True)
    assert not (out / "old").exists()
    assert (out / ADAPTER).is_file()
    assert entries(tmp_path) == ["original", "out"]


def test_a_failed_verification_leaves_no_export(original, tmp_path, monkeypatch):
    write = module.write_sidecars

    def spoil(plan, folder):
        write(plan, folder)
        data = bytearray((folder / WEIGHTS).read_bytes())
        data[-1000] ^= 1
        (folder / WEIGHTS).write_bytes(data)

    monkeypatch.setattr(module, "write_sidecars", spoil)
    with pytest.raises(CheckpointError, match="differs from") as raised:
        run_export(plan_of(original), tmp_path / "out")
    assert "partial" not in str(raised.value)
    assert entries(tmp_path) == ["original"]
    run_export(plan_of(original), tmp_path / "out", verified=False)


def test_another_run_on_the_same_folder_is_refused(original, tmp_path):
    def again(folder):
        with pytest.raises(OutputError, match="another run is writing here"):
            run_export(plan_of(original), tmp_path / "out")
        return {}

    run_export(plan_of(original), tmp_path / "out", check=again)
    assert open_checkpoint(tmp_path / "out").layout == "stripped"


CHILD = """
import sys
from pathlib import Path
from phi4audio_cli.checkpoint import export, staging
from phi4audio_cli.checkpoint.export import Request, make_plan, run_export

def progress(stage, done, total):
    if (stage, done > total // 2) == ({stage!r}, True):
        print("here", flush=True)
        sys.stdin.read()

if {swap}:
    staging._exchange = lambda one, other: False
    rename = Path.rename
    def stop(self, target):
        rename(self, target)
        if str(target).endswith(".replaced"):
            print("here", flush=True)
            sys.stdin.read()
    Path.rename = stop
source, out = map(Path, sys.argv[1:])
run_export(make_plan(Request(source, "x")), out, overwrite=True, progress=progress)
"""


@pytest.mark.parametrize("when", ["writing", "verifying", "swapping"])
def test_a_kill_leaves_the_target_and_the_next_run_cleans_up(original, tmp_path, when):
    out = tmp_path / "out"
    run_export(plan_of(original, "keep"), out)
    before = digest(out)
    code = textwrap.dedent(CHILD).format(stage=when, swap=when == "swapping")
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(original), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout.readline() == b"here\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    if when == "swapping":
        # The one moment without a folder, and only where the system can't exchange two at once.
        assert digest(tmp_path / ".out.replaced") == before
    else:
        assert digest(out) == before
    with pytest.raises(OutputError, match="isn't empty"):
        run_export(plan_of(original), out)
    assert digest(out) == before
    run_export(plan_of(original), out, overwrite=True)
    assert entries(tmp_path) == ["original", "out"]
    assert not (out / ADAPTER).exists()


def test_progress_counts_every_byte_of_each_stage(original, tmp_path):
    told = {}
    plan = plan_of(original, "keep")
    run_export(
        plan,
        tmp_path / "out",
        progress=lambda stage, *bytes_: told.setdefault(stage, []).append(bytes_),
    )
    assert list(told) == ["writing", "verifying"]
    for steps in told.values():
        assert steps[0] == (0, plan.tensor_bytes)
        assert steps[-1] == (plan.tensor_bytes, plan.tensor_bytes)
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_memory_does_not_hold_a_tensor_that_is_only_copied(tmp_path):
    """A 200 MB tensor is copied with a process that grows by far less."""
    code = """
import resource, sys
from pathlib import Path
import torch
from phi4audio_cli.checkpoint.shards import read_header, read_pieces
from phi4audio_cli.checkpoint.writer import Planned, plan_shards, write_shards
folder = Path(sys.argv[1])
info = read_header(folder / "in.safetensors")["x"]
plan = plan_shards([Planned("x", torch.bfloat16, info.shape)], 10**9)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
write_shards(folder, plan, lambda n: (p.bfloat16() for p in read_pieces(info)), lambda n: None)
print((peak() - before) * 1024)
"""
    planned = [writer.Planned("x", torch.float32, (50, 1 << 20))]
    shard = writer.Shard("in.safetensors", tuple(planned))
    writer.write_shards(tmp_path, (shard,), lambda n: torch.ones(50, 1 << 20), lambda n: None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 150_000_000
    assert (tmp_path / "model.safetensors").stat().st_size > 100_000_000


def test_staging_is_swept_where_it_is_stale(tmp_path):
    stale = staging.staging_of(tmp_path / "out")
    (stale / "folder").mkdir(parents=True)
    (stale / "file").write_text("rubbish")
    os.utime(stale, (time.time() - 9999,) * 2)
    with staging.staged(tmp_path / "out", replace=False) as folder:
        assert entries(folder) == []
        (folder / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert entries(tmp_path) == ["out"]
