"""strip-export keeps all data: full disks, kills, concurrent runs and non-empty folders."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from phi4audio_cli.checkpoint import export as module
from phi4audio_cli.checkpoint import open_checkpoint, safetensors_writer, staging
from phi4audio_cli.checkpoint.export import check_target, run_export
from phi4audio_cli.errors import CheckpointError, OutputError, UsageError
from tests.checkpoint.export_helpers import (
    ADAPTER,
    WEIGHTS,
    file_contents,
    folder_entries,
    make_export_plan,
)


def test_the_root_of_a_disk_is_refused(native):
    with pytest.raises(UsageError, match="root of a disk"):
        run_export(make_export_plan(native), Path("/"), overwrite=True)


def test_a_source_that_changes_during_the_export_leaves_no_files(original, tmp_path):
    plan = make_export_plan(original)
    with (original / WEIGHTS).open("r+b") as file:
        file.truncate(plan.source_bytes - 50_000)
    with pytest.raises(CheckpointError, match="the file ends inside the tensor"):
        run_export(plan, tmp_path / "out")
    assert folder_entries(tmp_path) == ["original"]


@pytest.mark.parametrize("after", [0, 1_000_000, 13_000_000])
def test_a_full_disk_leaves_no_files(original, tmp_path, monkeypatch, after):
    write = os.write
    written = 0

    def fill(descriptor, data):
        nonlocal written
        if written + len(data) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += len(data)
        return write(descriptor, data)

    monkeypatch.setattr(safetensors_writer.os, "write", fill)
    with pytest.raises(OutputError, match=r"out: the disk is full \(make room"):
        run_export(make_export_plan(original), tmp_path / "out")
    assert folder_entries(tmp_path) == ["original"]


def test_a_disk_that_is_too_small_is_refused_before_writing(original, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10_000_000))
    with pytest.raises(OutputError, match=r"needs \d+\.\d MB, 10\.0 MB are free"):
        run_export(make_export_plan(original), tmp_path / "out")
    assert folder_entries(tmp_path) == ["original"]


def test_a_folder_that_is_not_empty_is_left_alone(original, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"isn't empty|has files that are not an export"):
            check_target(make_export_plan(original), out, overwrite=overwrite)
    assert folder_entries(out) == ["precious.txt"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        check_target(make_export_plan(original), tmp_path / "file", overwrite=True)


def test_an_empty_folder_is_filled(original, tmp_path):
    (tmp_path / "out").mkdir()
    run_export(make_export_plan(original), tmp_path / "out")
    assert open_checkpoint(tmp_path / "out").layout == "stripped"


def test_the_source_is_never_overwritten(original):
    for target in (original, original.parent):
        with pytest.raises(UsageError, match="the output folder contains the source"):
            check_target(make_export_plan(original), target, overwrite=True)


def test_no_permission_is_an_output_error(original, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="can't be written to"):
        check_target(make_export_plan(original), tmp_path / "locked" / "out", overwrite=False)
    monkeypatch.undo()

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    plan = make_export_plan(original)
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
    run_export(make_export_plan(original), out)
    (out / "old").write_text("one")
    before = file_contents(out)

    def fail(folder):
        raise CheckpointError("not the same answers")

    with pytest.raises(CheckpointError, match="not the same answers"):
        run_export(make_export_plan(original), out, overwrite=True, check=fail)
    assert file_contents(out) == before
    run_export(make_export_plan(original, "keep"), out, overwrite=True)
    assert not (out / "old").exists()
    assert (out / ADAPTER).is_file()
    assert folder_entries(tmp_path) == ["original", "out"]


def test_a_failed_verification_leaves_no_export(original, tmp_path, monkeypatch):
    write = module.write_sidecars

    def damage(plan, folder):
        write(plan, folder)
        data = bytearray((folder / WEIGHTS).read_bytes())
        data[-1000] ^= 1
        (folder / WEIGHTS).write_bytes(data)

    monkeypatch.setattr(module, "write_sidecars", damage)
    with pytest.raises(CheckpointError, match="differs from") as raised:
        run_export(make_export_plan(original), tmp_path / "out")
    assert "partial" not in str(raised.value)
    assert folder_entries(tmp_path) == ["original"]
    run_export(make_export_plan(original), tmp_path / "out", verify_files=False)


def test_another_run_on_the_same_folder_is_refused(original, tmp_path):
    def again(folder):
        with pytest.raises(OutputError, match="another run is writing here"):
            run_export(make_export_plan(original), tmp_path / "out")
        return {}

    run_export(make_export_plan(original), tmp_path / "out", check=again)
    assert open_checkpoint(tmp_path / "out").layout == "stripped"


CHILD = """
import sys
from pathlib import Path
from phi4audio_cli.checkpoint import export, staging
from phi4audio_cli.checkpoint.export import ExportRequest, make_plan, run_export

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
run_export(make_plan(ExportRequest(source, "x")), out, overwrite=True, progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["writing", "verifying", "swapping"])
def test_a_kill_leaves_the_target_and_the_next_run_cleans_up(original, tmp_path, when):
    out = tmp_path / "out"
    run_export(make_export_plan(original, "keep"), out)
    before = file_contents(out)
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
        # The only moment without a target; systems with an atomic exchange do not have it.
        assert file_contents(tmp_path / ".out.replaced") == before
    else:
        assert file_contents(out) == before
    with pytest.raises(OutputError, match="isn't empty"):
        run_export(make_export_plan(original), out)
    assert file_contents(out) == before
    run_export(make_export_plan(original), out, overwrite=True)
    assert folder_entries(tmp_path) == ["original", "out"]
    assert not (out / ADAPTER).exists()


def test_a_stale_staging_folder_is_cleared(tmp_path):
    stale = staging.staging_path(tmp_path / "out")
    (stale / "folder").mkdir(parents=True)
    (stale / "file").write_text("old")
    os.utime(stale, (time.time() - 9999,) * 2)
    with staging.staged_folder(tmp_path / "out", replace=False) as folder:
        assert folder_entries(folder) == []
        (folder / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert folder_entries(tmp_path) == ["out"]
