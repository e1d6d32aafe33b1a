"""The result of a check, and the checks of package versions and of the output folder."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phi4audio_cli import __version__
from phi4audio_cli.errors import Phi4AudioError
from phi4audio_cli.formatting import format_bytes
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import (
    check_writable,
    check_writable_scheme,
    nearest_existing,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CheckStatus = Literal["ok", "warn", "fail"]
"""fail: a job would not run."""

PACKAGE = "phi4audio"

LISTED_PACKAGES = ("torch", "transformers")
"""Packages with a line of their own in the report."""

MIN_FREE_BYTES = 100_000_000
"""Below this the output folder gets a warning; temporary copies of recordings may be large."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    status: CheckStatus
    found: str
    remedy: str | None = None
    """What the user can do; None if the status is ok."""


def run_check(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an error becomes a failed check."""
    try:
        return check()
    except Exception as error:  # the report must show every error
        return failed_check(name, error)


def failed_check(name: str, error: Exception) -> Check:
    """Return a failed check with the message of an error."""
    if isinstance(error, Phi4AudioError):
        place = f"{error.where}: " if error.where else ""
        return Check(name, "fail", f"{place}{error.what}", error.remedy)
    reason = (str(error) or "no reason given").splitlines()[0]
    return Check(name, "fail", f"{type(error).__name__}: {reason}", "install phi4audio again")


def check_versions() -> Iterator[Check]:
    """Compare installed packages with the version ranges in phi4audio's metadata."""
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        yield Check(
            PACKAGE,
            "warn",
            f"{__version__} is not installed, so that versions can't be compared",
            "pip install .",
        )
        return
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in distribution.requires or ()]
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    yield _check_python(distribution.metadata["Requires-Python"])
    yield Check(PACKAGE, "ok", __version__)
    yield from (_check_package(each) for each in needed if each.name in LISTED_PACKAGES)
    yield from _summarize_packages(
        [_check_package(each) for each in needed if each.name not in LISTED_PACKAGES]
    )


def _check_python(wanted: str) -> Check:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    found = f"{version} on {platform.system()} {platform.machine()}"
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("python", "ok", found)
    return Check("python", "fail", f"{found}, but {wanted} is needed", "install a newer Python")


def _check_package(wanted: Requirement) -> Check:
    remedy = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Check(wanted.name, "fail", "is not installed", remedy)
    if wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, "ok", version)
    # Another version may work; the following checks try it.
    return Check(wanted.name, "warn", f"{version}, but {wanted.specifier} is required", remedy)


def _summarize_packages(checks: list[Check]) -> Iterator[Check]:
    bad = [check for check in checks if check.status != "ok"]
    yield from bad
    if len(bad) < len(checks):
        yield Check("packages", "ok", f"{len(checks) - len(bad)} more have supported versions")


def check_output_dir(folder: Location | None) -> Check:
    """Check free space and permission of the output folder.

    Args:
        folder: Of the outputs; None: next to each input, so that the working folder is checked.
    """
    if isinstance(folder, RemotePath):
        return _check_remote_dir(folder)
    place = nearest_existing(folder or Path())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "choose another output folder with -o"
        return Check("writing", "fail", f"{place}: can't be written to: {reason}", remedy)
    free = shutil.disk_usage(place).free
    found = f"{place}: {format_bytes(free)} free"
    if free < MIN_FREE_BYTES:
        return Check("writing", "warn", found, "make room, or choose another folder with -o")
    return Check("writing", "ok", found)


def _check_remote_dir(folder: RemotePath) -> Check:
    """Write a small file there, as every job does at its start."""
    try:
        check_writable_scheme(folder)
        check_writable(folder)
    except Phi4AudioError as error:
        return Check("writing", "fail", f"{error.where}: {error.what}", error.remedy or "")
    return Check("writing", "ok", f"{folder}: can be written to")
