"""The result of a check, and the checks of package versions and of the output folder."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from phi4audio_cli import __version__
from phi4audio_cli.errors import Phi4AudioError

if TYPE_CHECKING:
    from packaging.requirements import Requirement
import shutil
import tempfile
from pathlib import Path

from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.storage import check_writable, check_writable_scheme

CheckStatus = Literal["ok", "warn", "fail"]
"""fail: a job would not run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    status: CheckStatus
    found: str
    remedy: str | None = None
    """What to do about it; None where all is well."""


def run_check(name: str, check: Callable[[], Check]) -> Check:
    """Make a check; an error it meets is what it says."""
    try:
        return check()
    except Exception as error:  # whatever is broken here is what the user wants to know
        return failed_check(name, error)


def failed_check(name: str, error: Exception) -> Check:
    """Return the check that an error makes."""
    if isinstance(error, Phi4AudioError):
        place = f"{error.where}: " if error.where else ""
        return Check(name, "fail", f"{place}{error.what}", error.remedy)
    reason = (str(error) or "no reason given").splitlines()[0]
    return Check(name, "fail", f"{type(error).__name__}: {reason}", "install phi4audio again")


PACKAGE = "phi4audio"

LISTED_PACKAGES = ("torch", "transformers")
"""The packages that matter most have lines of their own."""


def check_versions() -> Iterator[Check]:
    """Compare what is installed with the ranges in phi4audio's own metadata."""
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        yield Check(
            PACKAGE,
            "warn",
            f"{__version__}, not installed: versions can't be compared",
            "pip install .",
        )
        return
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in found.requires or ()]
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    yield _check_python(found.metadata["Requires-Python"])
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
    return Check("python", "fail", f"{found}, and {wanted} is needed", "install a newer Python")


def _check_package(wanted: Requirement) -> Check:
    remedy = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Check(wanted.name, "fail", "is not installed", remedy)
    if wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, "ok", version)
    # It may work all the same; the checks that follow try.
    return Check(wanted.name, "warn", f"{version}, and {wanted.specifier} is asked for", remedy)


def _summarize_packages(checks: list[Check]) -> Iterator[Check]:
    bad = [check for check in checks if check.status != "ok"]
    yield from bad
    if len(bad) < len(checks):
        yield Check("packages", "ok", f"{len(checks) - len(bad)} more are as they should be")


MIN_FREE_BYTES = 100_000_000
"""Bytes; transcripts are small, temporary copies of remote recordings are not."""


def check_output_dir(folder: Location | None) -> Check:
    """Check space and permission where outputs go.

    Args:
        folder: For the outputs; None: they lie beside the inputs, so the current one is looked at.
    """
    if isinstance(folder, RemotePath):
        return _check_remote_dir(folder)
    place = nearest_existing(folder or Path())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "take another folder for the outputs with -o"
        return Check("writing", "fail", f"{place}: can't be written in: {reason}", remedy)
    free = shutil.disk_usage(place).free
    found = f"{place}: {format_bytes(free)} free"
    if free < MIN_FREE_BYTES:
        return Check("writing", "warn", found, "make room, or take another folder with -o")
    return Check("writing", "ok", found)


def _check_remote_dir(folder: RemotePath) -> Check:
    """Write a note there, as every job begins."""
    try:
        check_writable_scheme(folder)
        check_writable(folder)
    except Phi4AudioError as error:
        return Check("writing", "fail", f"{error.where}: {error.what}", error.remedy or "")
    return Check("writing", "ok", f"{folder}: can be written to")


def nearest_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def format_bytes(count: float) -> str:
    """Say a number of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
