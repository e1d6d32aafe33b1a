"""The package sources that pip is configured with, as options for uv, which reads none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

_UV_OPTIONS = {"index-url": "--default-index", "find-links": "--find-links"}
# Not extra-index-url: of one version uv takes the files of one index only, and so would install a
# wheel that doesn't fit where pip finds the better one in the other index.


def source_options() -> list[str]:
    """Return uv's options for pip's index and folders of wheels; none where pip has none.

    pip's constraints are left out on purpose: the check is about what users get without any.
    """
    options = []
    for name, values in _pip_settings().items():
        for value in values:
            options += [_UV_OPTIONS[name], value]
    return options


def torch_options(requirement_file: Path) -> list[str]:
    """Return uv's options that make it take a CPU build of torch, the others being gigabytes.

    Args:
        requirement_file: Written where a folder of wheels has such a build: a constraint to it.
            Without one, PyTorch's own index is asked.
    """
    builds = [build for folder in _pip_settings()["find-links"] for build in _cpu_builds(folder)]
    if not builds:
        return ["--torch-backend", "cpu"]
    requirement_file.write_text(f"torch=={max(builds)}\n", encoding="utf-8")
    return ["--constraint", str(requirement_file)]


def _pip_settings() -> dict[str, list[str]]:
    """Return the settings that name package sources, as pip itself applies them."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    settings: dict[str, list[str]] = {name: [] for name in _UV_OPTIONS}
    # Environment variables have the last word, which pip lists first.
    lines = sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in lines:
        key, _, value = line.partition("=")
        scope, _, name = key.rpartition(".")
        if scope in ("global", ":env:") and name in settings:
            settings[name] = str(ast.literal_eval(value)).split()
    return settings


def _cpu_builds(location: str) -> list[Version]:
    """Return torch's CPU builds for this Python in a folder of wheels, by its path or file URL."""
    address = urlsplit(location)
    if address.scheme not in ("", "file"):
        return []
    found = []
    for wheel in Path(url2pathname(address.path)).glob("torch-*.whl"):
        try:
            _, version, _, tags = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            continue
        if version.local == "cpu" and not tags.isdisjoint(sys_tags()):
            found.append(version)
    return found
