"""What can't work is told before work starts, and soon."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phi4audio_cli.cluster import package_versions, ray_cluster
from phi4audio_cli.cluster.package_versions import installed_versions as found_versions
from phi4audio_cli.cluster.ray_cluster import check_address, ray_session
from phi4audio_cli.cluster.shared_paths import create_probe, verify_probe
from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN
from phi4audio_cli.types import Job
from tests.cli.cli_runner import phi4audio
from tests.factories import write_tone


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_tone(tmp_path / "talk.wav")


# The command line.


@pytest.mark.parametrize("where", ["somewhere", "ray://host", "10.0.0.1:6379", "ray://:1", ""])
def test_an_invalid_cluster_address_is_rejected(where: str) -> None:
    with pytest.raises(UsageError, match=r"give auto, local, or ray://host:10001"):
        check_address(where)


@pytest.mark.parametrize("missing", ["ray", "grpc"])
def test_missing_packages_are_reported_with_the_install_command(monkeypatch, missing: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != missing)
    with pytest.raises(UsageError, match=r"pip install 'phi4audio\[cluster\]'"):
        check_address("ray://host:10001")


def test_workers_without_a_cluster_are_refused(talk, capsys) -> None:
    assert phi4audio("transcribe", "talk.wav", "--workers", "2") == 2
    assert "--workers: is for clusters (add --cluster local" in capsys.readouterr().err


# Reaching a cluster.


@pytest.mark.parametrize(
    ("where", "address"), [("ray://127.0.0.1:1", None), ("auto", "127.0.0.1:1")]
)
def test_an_unreachable_cluster_is_reported_within_the_timeout(
    monkeypatch, where: str, address: str | None
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address or "")
    began = time.monotonic()
    with (
        pytest.raises(UsageError, match=r"no cluster answers at 127\.0\.0\.1:1"),
        ray_session(where),
    ):
        pass
    assert time.monotonic() - began < ray_cluster.CONNECT_TIMEOUT_SECONDS + 10


def test_a_missing_cluster_is_reported(monkeypatch) -> None:
    services = pytest.importorskip("ray._private.services")

    def find(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(services, "canonicalize_bootstrap_address", find)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(UsageError, match=r"no cluster was found .*set RAY_ADDRESS"),
        ray_session("auto"),
    ):
        pass


# What the workers have.


def test_machines_with_other_versions_are_refused(monkeypatch) -> None:
    pytest.importorskip("ray")
    from phi4audio_cli.cluster.ray_pool import _check_same_versions

    mine = found_versions()
    assert set(mine) == {"Python", "phi4audio", "torch", "ray"}
    assert "none" not in mine.values()
    _check_same_versions("machine", mine, dict(mine))
    with pytest.raises(UsageError, match=r"machine: has torch 1\.0, not .*; ray none, not"):
        _check_same_versions("machine", mine, {**mine, "torch": "1.0", "ray": "none"})


def test_a_cluster_of_other_versions_is_refused(joinable, talk, monkeypatch, capsys) -> None:
    real = found_versions()
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
    assert phi4audio("transcribe", "talk.wav", "--cluster", "auto", "--model", "demo") == 2
    assert f"has Python {real['Python']}, not 3.99" in capsys.readouterr().err
    assert package_versions.installed_versions()["Python"] == "3.99"


def test_more_workers_than_devices_and_a_missing_gpu_are_refused(joinable, talk, capsys) -> None:
    command = ("transcribe", "talk.wav", "--model", "demo", "--cluster", "auto")
    assert phi4audio(*command, "--workers", "7") == 2
    assert "7 workers are more than the cluster has devices: 2 cores" in capsys.readouterr().err
    assert phi4audio(*command, "--device", "cuda") == 3
    assert "the cluster has no GPU" in capsys.readouterr().err


def test_a_model_missing_on_workers_is_reported_before_work_starts(joinable, talk, capsys) -> None:
    command = ("transcribe", "talk.wav", "--cluster", "auto", "--workers", "1", "-o", "out")
    assert phi4audio(*command, "--offline", "--model", "nobody/nothing") == 3
    said = capsys.readouterr().err
    assert f"nobody/nothing on {socket.gethostname()} (worker 1): isn't on this machine" in said
    assert not list(Path("out").glob("*.txt"))


# Folders that only the driver has.


def test_a_folder_missing_on_workers_is_reported(tmp_path: Path, talk: Path) -> None:
    jobs = [Job(0, talk)]
    with create_probe([tmp_path / "out"], jobs) as wanted:
        verify_probe(wanted)
        assert len(list((tmp_path / "out").iterdir())) == 1
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"workers don't see this folder .*shared disk"):
            verify_probe(wanted)
        (tmp_path / "out").mkdir()
        with pytest.raises(OutputError, match="workers don't see this folder"):
            verify_probe(wanted)


def test_recordings_missing_on_workers_are_reported(tmp_path: Path, talk: Path) -> None:
    with create_probe([tmp_path / "out"], [Job(0, talk)]) as wanted:
        talk.unlink()
        with pytest.raises(UsageError, match=r"talk\.wav: workers don't see this recording"):
            verify_probe(wanted)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_single_missing_recording_passes_the_probe(tmp_path, talk) -> None:
    with create_probe([tmp_path], [Job(0, tmp_path / "gone.wav"), Job(1, talk)]) as wanted:
        verify_probe(wanted)


def test_standard_input_is_rejected(tmp_path: Path) -> None:
    jobs = [Job(0, Path("stdin"), url=STDIN)]
    with pytest.raises(UsageError, match="standard input"), create_probe([tmp_path], jobs):
        pass


def test_an_unwritable_folder_is_reported(tmp_path: Path, deny: Callable[[], None]) -> None:
    with create_probe([tmp_path / "out"], []) as wanted:
        deny()
        with pytest.raises(OutputError, match="can't be written to: no room"):
            verify_probe(wanted)


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(path: Path, exist_ok: bool = True) -> None:
        raise OSError(28, "no room")

    return lambda: monkeypatch.setattr(Path, "touch", refuse)
