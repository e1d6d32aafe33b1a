"""What one check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from phi4audio_cli.errors import Phi4AudioError

Status = Literal["ok", "warn", "fail"]
"""fail: a job would not run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    status: Status
    found: str
    remedy: str | None = None
    """What to do about it; None where all is well."""


def attempt(name: str, check: Callable[[], Check]) -> Check:
    """Make a check; an error it meets is what it says."""
    try:
        return check()
    except Exception as error:  # whatever is broken here is what the user wants to know
        return failed(name, error)


def failed(name: str, error: Exception) -> Check:
    """Return the check that an error makes."""
    if isinstance(error, Phi4AudioError):
        place = f"{error.where}: " if error.where else ""
        return Check(name, "fail", f"{place}{error.what}", error.remedy)
    reason = (str(error) or "no reason given").splitlines()[0]
    return Check(name, "fail", f"{type(error).__name__}: {reason}", "install phi4audio again")
