"""One job an output folder, several where all agree, and none that is dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.lock import lock_output_dirs

HOLDER = """
import sys, time
from pathlib import Path
from phi4audio_cli.jobs.lock import hold
with hold([Path(sys.argv[1])], shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Starts another process that holds the folder."""
    started: list[subprocess.Popen] = []

    def start(mode: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), mode], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_job_refuses_says_who_holds_it_and_what_to_do(tmp_path, other) -> None:
    process = other("alone")
    with pytest.raises(UsageError) as caught, lock_output_dirs([tmp_path], shared=False):
        pass
    assert f"process {process.pid}" in str(caught.value)
    assert "--shared" in str(caught.value)
    with lock_output_dirs([tmp_path], shared=True):  # that one may
        pass


def test_a_dead_process_holds_nothing(tmp_path, other) -> None:
    process = other("alone")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_output_dirs([tmp_path], shared=False):
        pass


def test_jobs_that_share_keep_one_that_does_not_away(tmp_path, other) -> None:
    other("shared")
    with lock_output_dirs([tmp_path], shared=True):
        pass
    with (
        pytest.raises(UsageError, match="a job with --shared"),
        lock_output_dirs([tmp_path], shared=False, on_alone=lambda: pytest.fail("it is not alone")),
    ):
        pass


def test_what_needs_no_other_job_is_done_when_there_is_none(tmp_path) -> None:
    done: list[str] = []
    with lock_output_dirs(
        [tmp_path / "new", tmp_path / "new"], shared=False, on_alone=lambda: done.append("")
    ):
        assert done == [""]
    with lock_output_dirs([tmp_path], shared=True, on_alone=lambda: done.append("")):
        assert done == [""]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(OutputError, match="can't be written to"),
            lock_output_dirs([tmp_path], shared=False),
        ):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_file_where_the_folder_must_be(tmp_path) -> None:
    (tmp_path / ".phi4audio").write_text("")
    with (
        pytest.raises(OutputError, match="can't be written to"),
        lock_output_dirs([tmp_path], shared=False),
    ):
        pass
