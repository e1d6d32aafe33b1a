"""The command `phi4audio doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import DoctorOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.doctor.environment_checks import Check, CheckStatus


@expand_options
def doctor(doctor_options: DoctorOptions, as_json: options.AsJson = False) -> None:
    """Check whether a job would run on this machine, and give a remedy for each problem.

    The checks cover versions, decoding, speech detection, device, memory, and the model: whether
    it is on this machine, complete, and transcribes a test clip. Nothing is downloaded. The exit
    code is 0 if a job would run, else 3.
    """
    from phi4audio_cli.doctor import run_checks
    from phi4audio_cli.errors import ExitCode

    checks = run_checks(doctor_options.load_settings())
    found = list(checks) if as_json else list(_print_checks(checks))
    fine = all(check.status != "fail" for check in found)
    _print_verdict(found, fine, as_json)
    raise typer.Exit(ExitCode.OK if fine else ExitCode.MODEL)


def _print_checks(checks: Iterator[Check]) -> Iterator[Check]:
    """Print each check as soon as it is made."""
    from phi4audio_cli.cli.console import escape_control

    for check in checks:
        advice = f" ({check.remedy})" if check.remedy else ""
        status = typer.style(f"{check.status:<4}", fg=_status_color(check.status))
        typer.echo(f"{status}  {check.name:<12}  {escape_control(check.found + advice)}")
        yield check


def _print_verdict(checks: list[Check], passed: bool, as_json: bool) -> None:
    if not as_json:
        typer.echo("a job would run" if passed else "a job would not run: see the lines with fail")
        return
    import json
    from dataclasses import asdict

    from phi4audio_cli import __version__

    report = {"version": __version__, "ok": passed, "checks": [asdict(check) for check in checks]}
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))


def _status_color(status: CheckStatus) -> str:
    return {"ok": "green", "warn": "yellow", "fail": "red"}[status]
