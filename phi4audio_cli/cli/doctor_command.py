"""The command `phi4audio doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options

if TYPE_CHECKING:
    from phi4audio_cli.doctor.environment_checks import Check, CheckStatus

AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def doctor(
    model: options.Model = None,
    adapter: options.Adapter = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = None,
    offline: options.Offline = None,
    output_dir: options.OutputDir = None,
    config: options.Config = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a job would run here, and say what to do where it wouldn't.

    Versions, decoding, finding speech, device, memory, and the model: whether it is here, whole,
    and able to listen. Nothing is downloaded. The exit code is 0 where a job would run, else 3.
    """
    from phi4audio_cli.doctor import run_checks
    from phi4audio_cli.errors import ExitCode
    from phi4audio_cli.settings import load_settings

    flags = {
        "model": model,
        "adapter": adapter,
        "device": device,
        "dtype": dtype,
        "quantize": quantize,
        "offline": offline,
        "output_dir": output_dir,
    }
    checks = run_checks(load_settings(flags, config=config))
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
