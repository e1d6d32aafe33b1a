"""Locks of output folders: exclusive, shared, and of processes that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.lock import lock_output_dirs
from phi4audio_cli.locations import RemotePath

LOCK_SCRIPT = """
import sys, time
from pathlib import Path
from phi4audio_cli.jobs.lock import lock_output_dirs
with lock_output_dirs([Path(sys.argv[1])], shared=sys.argv[2] == "shared"):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def start_locker(tmp_path: Path):
    """Start another process that locks the folder."""
    started: list[subprocess.Popen] = []

    def start(mode: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", LOCK_SCRIPT, str(tmp_path), mode], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"locked\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_job_is_rejected_with_the_owner_and_a_remedy(tmp_path, start_locker) -> None:
    process = start_locker("exclusive")
    with pytest.raises(UsageError) as caught, lock_output_dirs([tmp_path], shared=False):
        pass
    assert f"process {process.pid}" in str(caught.value)
    assert "--shared" in str(caught.value)
    with lock_output_dirs([tmp_path], shared=True):  # allowed
        pass


def test_a_dead_process_has_no_lock(tmp_path, start_locker) -> None:
    process = start_locker("exclusive")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_output_dirs([tmp_path], shared=False):
        pass


def test_shared_jobs_exclude_an_exclusive_one(tmp_path, start_locker) -> None:
    start_locker("shared")
    with lock_output_dirs([tmp_path], shared=True):
        pass
    with (
        pytest.raises(UsageError, match="a job with --shared"),
        lock_output_dirs(
            [tmp_path], shared=False, when_exclusive=lambda: pytest.fail("not exclusive")
        ),
    ):
        pass


def test_when_exclusive_is_called_only_without_other_jobs(tmp_path) -> None:
    done: list[str] = []
    with lock_output_dirs(
        [tmp_path / "new", tmp_path / "new"], shared=False, when_exclusive=lambda: done.append("")
    ):
        assert done == [""]
    with lock_output_dirs([tmp_path], shared=True, when_exclusive=lambda: done.append("")):
        assert done == [""]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_reported(tmp_path) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(OutputError, match="can't be written to"),
            lock_output_dirs([tmp_path], shared=False),
        ):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_state_folder_is_reported(tmp_path) -> None:
    (tmp_path / ".phi4audio").write_text("")
    with (
        pytest.raises(OutputError, match="can't be written to"),
        lock_output_dirs([tmp_path], shared=False),
    ):
        pass


# Remote folders.


def test_remote_folders_are_not_locked_but_marked(remote_filesystem) -> None:
    folder = RemotePath(f"{remote_filesystem.protocol}://calls/out")
    with lock_output_dirs([folder], shared=False), lock_output_dirs([folder], shared=False):
        pass
    assert list(remote_filesystem.content()) == ["/calls/out/.phi4audio/README.txt"]


def test_an_unwritable_remote_folder_is_reported_before_work(remote_filesystem) -> None:
    folder = RemotePath(f"{remote_filesystem.protocol}://calls/out")
    remote_filesystem.faults["pipe_file"] = PermissionError(13, "Permission denied")
    with (
        pytest.raises(OutputError, match="Permission denied"),
        lock_output_dirs([folder], shared=False),
    ):
        raise AssertionError("the job has started")
