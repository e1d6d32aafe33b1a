"""Virtual environments with exactly the resolved dependencies, kept while those stay the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from tools.check_install.pip_settings import source_options, torch_options

Kind = Literal["newest", "lowest"]

EXTRAS = ("eval", "remote", "cluster", "quantize")
"""What a user can ask for; `dev` is not for users."""

_RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}


class CheckFailedError(Exception):
    """A step went wrong; the message is what to show."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel in it."""

    kind: Kind
    folder: Path
    kept: bool
    """Whether an earlier run made it."""

    @property
    def scripts(self) -> Path:
        """The folder of the installed commands."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin")


def build_wheel(root: Path, kind: Kind, scratch: Path) -> Path:
    """Build the project's wheel with the newest or the lowest build backend."""
    out = scratch / f"wheel-{kind}"
    _uv("build", "--quiet", "--wheel", "--out-dir", out, "--resolution", _RESOLUTIONS[kind],
        *source_options(), root)  # fmt: skip
    (wheel,) = out.glob("*.whl")
    return wheel


def prepare(root: Path, kind: Kind, cache: Path, scratch: Path) -> Environment:
    """Resolve the dependencies as of now, and make an environment where no kept one has them.

    Raises:
        CheckFailedError: They can't be resolved or installed, or a lower bound was not resolved.
    """
    options = [*source_options(), *torch_options(scratch / f"torch-{kind}.txt")]
    wheel = build_wheel(root, kind, scratch)
    resolved = _resolve(root, kind, options)
    if kind == "lowest":
        _check_bounds(root, resolved)
    home = cache / kind
    wanted = f"# {sys.version}, {home}, {source_options()}\n{resolved}"
    marker = home / "resolved.txt"
    kept = marker.is_file() and marker.read_text(encoding="utf-8") == wanted
    environment = Environment(kind, home / "venv", kept)
    python = ["--python", str(environment.folder)]
    if not environment.kept:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        _uv("venv", "--quiet", "--python", sys.executable, environment.folder)
        listed = scratch / f"resolved-{kind}.txt"
        listed.write_text(resolved, encoding="utf-8")
        _uv("pip", "install", "--quiet", *python, "--no-deps", "-r", listed, *options)
    # Not through uv's cache, which would keep the wheel of every run.
    _uv("pip", "install", "--quiet", *python, "--no-deps", "--no-cache", "--reinstall", wheel)
    _uv("pip", "check", "--quiet", *python)
    # Last, so that what was interrupted is made from the beginning the next time.
    marker.write_text(wanted, encoding="utf-8")
    return environment


def forget(kind: Kind, cache: Path) -> None:
    """Have the next run make an environment from the beginning."""
    (cache / kind / "resolved.txt").unlink(missing_ok=True)


def _resolve(root: Path, kind: Kind, options: list[str]) -> str:
    extras = [argument for extra in EXTRAS for argument in ("--extra", extra)]
    return _uv(
        "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", sys.executable,
        "--resolution", _RESOLUTIONS[kind], *extras, *options, root / "pyproject.toml",
    )  # fmt: skip


def _check_bounds(root: Path, resolved: str) -> None:
    """Check that every lower bound is what was resolved: else it is a version that never runs."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    pins = [line.split(";")[0].strip() for line in resolved.splitlines() if "==" in line]
    versions = dict(pin.split("==") for pin in pins)
    wrong = []
    for requirement in map(Requirement, [*project["dependencies"], *optional]):
        (bound,) = [part.version for part in requirement.specifier if part.operator == ">="]
        found = versions[requirement.name]
        if Version(Version(found).public) != Version(bound):
            wrong.append(f"{requirement.name}>={bound} (resolved: {found})")
    if wrong:
        raise CheckFailedError(
            "lower bounds in pyproject.toml that can't be had together: " + ", ".join(wrong)
        )


def _uv(*arguments: str | Path) -> str:
    """Run uv and return its output.

    Raises:
        CheckFailedError: With uv's own words.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [uv, *arguments], capture_output=True, text=True, check=False, env=environ
    )
    if done.returncode:
        raise CheckFailedError(f"uv {' '.join(map(str, arguments))}\n{done.stderr.strip()}")
    return done.stdout


_FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER")
"""Variables that would change what is resolved, or where it is installed."""
