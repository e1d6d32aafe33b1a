"""A release of Ray with known security holes is refused."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from phi4audio_cli.cluster.ray_cluster import MINIMUM_RAY, check_address
from phi4audio_cli.errors import UsageError

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture(autouse=True)
def _needs_ray() -> None:
    pytest.importorskip("ray")


@pytest.mark.parametrize("where", ["local", "auto", "ray://host:10001"])
def test_an_old_ray_is_refused(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: {"ray": "2.55.1"}[name])
    with pytest.raises(UsageError, match=r"Ray 2\.55\.1 is too old") as refusal:
        check_address(where)
    assert "pip install 'phi4audio[cluster]'" in str(refusal.value)


def test_the_lowest_allowed_ray_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: {"ray": "2.56.0"}[name])
    check_address("local")


def test_the_extra_asks_for_the_same_release() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    (line,) = project["optional-dependencies"]["cluster"]
    assert str(Requirement(line).specifier) == f">={MINIMUM_RAY}"
