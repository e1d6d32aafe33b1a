"""Errors of clusters are reported before work starts, without long waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phi4audio_cli.cluster import package_versions, ray_cluster
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


@pytest.mark.parametrize("option", ["somewhere", "ray://host", "10.0.0.1:6379", "ray://:1", ""])
def test_an_invalid_cluster_address_is_rejected(option: str) -> None:
    with pytest.raises(
        UsageError, match=r"invalid cluster address .*give auto, local, or ray://host:10001"
    ):
        check_address(option)


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
    ("option", "address"), [("ray://127.0.0.1:1", None), ("auto", "127.0.0.1:1")]
)
def test_an_unreachable_cluster_is_reported_within_the_timeout(
    monkeypatch, option: str, address: str | None
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address or "")
    start = time.monotonic()
    with (
        pytest.raises(UsageError, match=r"no cluster answers at 127\.0\.0\.1:1"),
        ray_session(option),
    ):
        pass
    assert time.monotonic() - start < ray_cluster.CONNECT_TIMEOUT_SECONDS + 10


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


# Versions and devices.


def test_machines_with_other_versions_are_rejected(monkeypatch) -> None:
    pytest.importorskip("ray")
    from phi4audio_cli.cluster.ray_pool import _check_same_versions

    expected = package_versions.installed_versions()
    assert set(expected) == {"Python", "phi4audio", "torch", "ray"}
    assert "none" not in expected.values()
    _check_same_versions("machine", expected, dict(expected))
    with pytest.raises(UsageError, match=r"machine: has torch 1\.0, not .*; ray none, not"):
        _check_same_versions("machine", expected, {**expected, "torch": "1.0", "ray": "none"})


def test_a_cluster_with_other_versions_is_rejected(
    reachable_cluster, talk, monkeypatch, capsys
) -> None:
    real = package_versions.installed_versions()
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
    assert phi4audio("transcribe", "talk.wav", "--cluster", "auto", "--model", "demo") == 2
    assert f"has Python {real['Python']}, not 3.99" in capsys.readouterr().err
    assert package_versions.installed_versions()["Python"] == "3.99"


def test_more_workers_than_devices_and_a_missing_gpu_are_rejected(
    reachable_cluster, talk, capsys
) -> None:
    command = ("transcribe", "talk.wav", "--model", "demo", "--cluster", "auto")
    assert phi4audio(*command, "--workers", "7") == 2
    assert "7 workers are more than the cluster has devices: 2 cores" in capsys.readouterr().err
    assert phi4audio(*command, "--device", "cuda") == 3
    assert "the cluster has no GPU" in capsys.readouterr().err


def test_a_model_missing_on_workers_is_reported_before_work_starts(
    reachable_cluster, talk, capsys
) -> None:
    command = ("transcribe", "talk.wav", "--cluster", "auto", "--workers", "1", "-o", "out")
    assert phi4audio(*command, "--offline", "--model", "nobody/nothing") == 3
    err = capsys.readouterr().err
    assert f"nobody/nothing on {socket.gethostname()} (worker 1): isn't on this machine" in err
    assert not list(Path("out").glob("*.txt"))


# Folders and recordings of the driver only.


def test_a_folder_missing_on_workers_is_reported(tmp_path: Path, talk: Path) -> None:
    jobs = [Job(0, talk)]
    with create_probe([tmp_path / "out"], jobs) as probe:
        verify_probe(probe)
        assert len(list((tmp_path / "out").iterdir())) == 1
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"workers don't see this folder .*shared disk"):
            verify_probe(probe)
        (tmp_path / "out").mkdir()
        with pytest.raises(OutputError, match="workers don't see this folder"):
            verify_probe(probe)


def test_recordings_missing_on_workers_are_reported(tmp_path: Path, talk: Path) -> None:
    with create_probe([tmp_path / "out"], [Job(0, talk)]) as probe:
        talk.unlink()
        with pytest.raises(UsageError, match=r"talk\.wav: workers don't see this recording"):
            verify_probe(probe)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_single_missing_recording_passes_the_probe(tmp_path, talk) -> None:
    with create_probe([tmp_path], [Job(0, tmp_path / "gone.wav"), Job(1, talk)]) as probe:
        verify_probe(probe)


def test_standard_input_is_rejected(tmp_path: Path) -> None:
    jobs = [Job(0, Path("stdin"), url=STDIN)]
    with pytest.raises(UsageError, match="standard input"), create_probe([tmp_path], jobs):
        pass


def test_an_unwritable_folder_is_reported(
    tmp_path: Path, make_unwritable: Callable[[], None]
) -> None:
    with create_probe([tmp_path / "out"], []) as probe:
        make_unwritable()
        with pytest.raises(OutputError, match="can't be written to: no room"):
            verify_probe(probe)


@pytest.fixture
def make_unwritable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(path: Path, exist_ok: bool = True) -> None:
        raise OSError(28, "no room")

    return lambda: monkeypatch.setattr(Path, "touch", refuse)
