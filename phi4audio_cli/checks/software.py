"""Whether Python and the packages are the versions that phi4audio asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from phi4audio_cli import __version__
from phi4audio_cli.checks.check import Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "phi4audio"

SHOWN = ("torch", "transformers")
"""The packages that matter most have lines of their own."""


def software() -> Iterator[Check]:
    """Compare what is installed with the ranges in phi4audio's own metadata."""
    try:
        found = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        yield Check(
            NAME,
            "warn",
            f"{__version__}, not installed: versions can't be compared",
            "pip install .",
        )
        return
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in found.requires or ()]
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    yield _python(found.metadata["Requires-Python"])
    yield Check(NAME, "ok", __version__)
    yield from (_installed(each) for each in needed if each.name in SHOWN)
    yield from _others([_installed(each) for each in needed if each.name not in SHOWN])


def _python(wanted: str) -> Check:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    found = f"{version} on {platform.system()} {platform.machine()}"
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("python", "ok", found)
    return Check("python", "fail", f"{found}, and {wanted} is needed", "install a newer Python")


def _installed(wanted: Requirement) -> Check:
    remedy = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Check(wanted.name, "fail", "is not installed", remedy)
    if wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, "ok", version)
    # It may work all the same; the checks that follow try.
    return Check(wanted.name, "warn", f"{version}, and {wanted.specifier} is asked for", remedy)


def _others(checks: list[Check]) -> Iterator[Check]:
    bad = [check for check in checks if check.status != "ok"]
    yield from bad
    if len(bad) < len(checks):
        yield Check("packages", "ok", f"{len(checks) - len(bad)} more are as they should be")
