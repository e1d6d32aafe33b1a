"""Tensors as pages of their files: values, memory, descriptors, and damaged files."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.mapped_files import MappedFiles
from phi4audio_cli.checkpoint.safetensors_reader import read_header, read_tensor, read_tensor_index
from phi4audio_cli.cli.app import main
from phi4audio_cli.errors import CheckpointError
from tools.make_checkpoint.random_checkpoint import SMALL, make

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_mapped_tensor_equals_the_read_tensor(original):
    for info in read_tensor_index(original).values():
        mapped = MappedFiles().tensor(info)
        assert mapped.dtype == info.dtype
        assert torch.equal(mapped, read_tensor(info))


def test_writes_to_a_mapped_tensor_do_not_reach_the_file(original):
    info = next(iter(read_tensor_index(original).values()))
    before = read_tensor(info)
    MappedFiles().tensor(info).zero_()
    assert torch.equal(read_tensor(info), before)
    assert bool(before.any())


def test_a_mapped_tensor_survives_deletion_of_its_file(original):
    info = next(iter(read_tensor_index(original).values()))
    before, mapped = read_tensor(info), MappedFiles().tensor(info)
    info.file.unlink()
    info.file.write_bytes(b"another")
    assert torch.equal(mapped, before)


def test_a_truncated_file_is_not_mapped(original):
    info = list(read_tensor_index(original).values())[-1]
    size = info.file.stat().st_size
    with info.file.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(CheckpointError, match="ends inside the tensor"):
        MappedFiles().tensor(info)


def test_a_checkpoint_gives_the_same_tensors_mapped(original):
    for dtype in (None, torch.float32, torch.bfloat16):
        checkpoint = replace(open_checkpoint(original), dtype=dtype)
        mapped = dict(checkpoint.mapped_tensors())
        for name, tensor in checkpoint.tensors():
            assert mapped[name].dtype == tensor.dtype
            assert torch.equal(mapped[name], tensor)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a change of the file may not show")
def test_a_weight_that_fits_is_not_copied(original):
    """It is memory of the file, so that changes of the file show in it."""
    checkpoint = open_checkpoint(original)
    name = next(each for each in checkpoint.expected_shapes if each.endswith("embed_tokens.weight"))
    mapped = dict(checkpoint.mapped_tensors())[name]
    info = checkpoint.stored_tensors[name]
    with info.file.open("r+b") as file:
        file.seek(info.offset)
        file.write(b"\x00" * info.nbytes)
    assert not mapped.any()


def test_an_empty_file_is_not_mapped(original):
    info = list(read_tensor_index(original).values())[-1]
    info.file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        MappedFiles().tensor(info)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@LINUX_ONLY
def test_the_pages_of_a_freed_tensor_are_freed_while_the_file_stays_mapped(tmp_path):
    """A load never needs the weights twice, and the neighbours keep their values."""
    wide = torch.arange(8 << 20, dtype=torch.float32)  # 32 MiB
    small = torch.arange(1000, dtype=torch.float32)
    save_file({"a": small, "b": wide, "c": small + 1}, tmp_path / "x.safetensors")
    infos, files = read_header(tmp_path / "x.safetensors"), MappedFiles()
    neighbours = [files.tensor(infos[name]).add_(1) for name in "ac"]
    mapped = files.tensor(infos["b"])
    assert torch.equal(mapped, wide)
    before = resident_bytes()
    del mapped
    assert before - resident_bytes() > 30 << 20
    assert torch.equal(neighbours[0], small + 1)
    assert torch.equal(neighbours[1], small + 2)


@LINUX_ONLY
def test_all_tensors_of_a_checkpoint_need_one_descriptor_per_file(sharded):
    checkpoint = open_checkpoint(sharded)
    before = open_descriptors()
    mapped = dict(checkpoint.mapped_tensors())
    files = {checkpoint.stored_tensors[name].file for name in mapped}
    assert len(mapped) > len(files) > 1
    assert open_descriptors() - before <= len(files)
    del mapped
    assert open_descriptors() == before


DEEP = replace(SMALL, layers=32, encoder_blocks=24)
"""A small network with the number of layers of the published one."""

RUN_STRIPPED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
import numpy
from phi4audio_cli import Session
settings = dict(dtype="bfloat16", device="cpu", vad=False, align="none")
with Session(sys.argv[1], **settings) as session:
    session.transcribe(numpy.zeros(8_000, numpy.float32), sample_rate=16_000)
print("transcribed")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_checkpoint_with_1077_tensors_runs_with_128_descriptors(tmp_path):
    make(tmp_path / "deep", "original", DEEP)
    folders = ["-s", str(tmp_path / "deep"), "-o", str(tmp_path / "stripped")]
    with pytest.raises(SystemExit) as caught:
        main(["strip-export", *folders, "--no-verify"])
    assert not caught.value.code
    checkpoint = open_checkpoint(tmp_path / "stripped")
    assert len(checkpoint.expected_shapes) == 1077
    result = subprocess.run(
        [sys.executable, "-c", RUN_STRIPPED, str(tmp_path / "stripped")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (result.returncode, result.stdout) == (0, "transcribed\n"), result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_demo_transcribes_with_64_descriptors(tmp_path):
    import resource

    samples = Path(__file__).parents[2] / "phi4audio_cli" / "demo" / "samples"
    result = subprocess.run(
        [sys.executable, "-m", "phi4audio_cli", "transcribe", samples / "short.flac", "--model",
         "demo", "--device", "cpu", "--dtype", "float32", "--readers", "1", "-o", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "short.txt").read_text().split() == result.stdout.split()
    assert len(result.stdout.split()) == 6
