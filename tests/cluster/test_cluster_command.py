"""The command on a cluster: the same outputs, interruption and resumption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import phi4audio_cli
from tests.cli.cli_runner import outputs, phi4audio

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

SAMPLES = Path(phi4audio_cli.__file__).parent / "demo" / "samples"
TIMEOUT_SECONDS = 120


@pytest.fixture
def talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    for copy in range(5):
        for name in ("short", "pauses", "medium"):
            shutil.copy(SAMPLES / f"{name}.flac", f"{name}{copy}.flac")
    return sorted(path.name for path in tmp_path.glob("*.flac"))


def arguments(talks: list[str], out: str, *more: str) -> list[str]:
    return ["transcribe", *talks, "-o", out, "--model", "demo", "--dtype", "float32", *more]


def start_command(
    talks: list[str], out: str, *more: str, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the command in its own process group, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "phi4audio_cli", *arguments(talks, out, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=env,
    )


def wait_for(process: subprocess.Popen[bytes], condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def worker_processes() -> list[psutil.Process]:
    """Return the workers of this test's cluster, not of other tests' clusters."""
    return [each for each in psutil.Process().children(recursive=True) if _is_worker(each)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] != [] and process.cmdline()[0].startswith("ray::Worker")
    except psutil.Error:
        return False


def test_a_killed_driver_leaves_no_processes_and_the_next_run_resumes(
    reachable_cluster, talks, capsys
) -> None:
    assert phi4audio(*arguments(talks, "one")) == 0
    printed = capsys.readouterr().out
    process = start_command(talks, "out", "--cluster", "auto", "--batch-size", "1")
    wait_for(process, lambda: list(Path("out").glob("*.srt")))
    assert worker_processes()
    process.kill()
    process.communicate()
    before = len(list(Path("out").glob("*.srt")))
    assert 0 < before < len(talks)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while worker_processes():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert phi4audio(*arguments(talks, "out", "--cluster", "auto")) == 0
    captured = capsys.readouterr()
    assert captured.out == printed
    assert outputs("out") == outputs("one")
    report = json.loads(Path("out/report.json").read_text("utf-8"))
    assert report["totals"]["skipped"] >= before - 1
    assert report["totals"]["done"] + report["totals"]["skipped"] == len(talks)
    assert sum(each["done"] for each in report["workers"]) == len(talks)
    assert len(report["workers"]) == 2
    assert not list(Path("out").glob(".phi4audio-*"))


def test_local_cluster_listens_on_loopback_only_and_ctrl_c_ends_it(talks, tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    home = tmp_path / "home"
    home.mkdir()
    plain["HOME"] = str(home)
    process = start_command(talks, "out", "--cluster", "local", "--batch-size", "1", env=plain)
    ours = psutil.Process(process.pid)
    wait_for(process, lambda: list(Path("out").glob("*.srt")))
    family = [ours, *ours.children(recursive=True)]
    listening = [each.laddr for one in family for each in _listening(one)]
    assert len(listening) > 3, "Ray's processes do listen"
    assert {each.ip.removeprefix("::ffff:") for each in listening} <= {"127.0.0.1", "::1"}
    assert 8265 not in {each.port for each in listening}, "its dashboard"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130, err
    assert b"the running batch is finished first" in err
    assert b"the same command goes on from here" in err
    assert b"ray" not in out.lower() + err.lower().replace(b"starting ray", b"")
    psutil.wait_procs(family[1:], timeout=10)
    assert not [each for each in family[1:] if each.is_running()]
    assert not list(home.glob(".ray*"))
    whole = len(list(Path("out").glob("*.srt")))
    assert 0 < whole < len(talks)


def _listening(process: psutil.Process) -> list[psutil._common.pconn]:
    try:
        return [each for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def test_ray_is_not_imported_without_the_option(talks) -> None:
    look = (
        "import sys\n"
        "ours = ('ray', 'phi4audio_cli.cluster')\n"
        "from phi4audio_cli.cli.app import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    found = [name for name in sys.modules if name.startswith(ours)]\n"
        "    print(end.code, found, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, *arguments(talks[-1:], "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "0 []"
