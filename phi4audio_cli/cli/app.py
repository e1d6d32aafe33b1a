"""The `phi4audio` command: its sub-commands, exit codes and error messages.

This module imports neither torch nor transformers nor pydantic, so that `phi4audio --help` is fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from phi4audio_cli import __version__
from phi4audio_cli.cli.ask_command import ask
from phi4audio_cli.cli.bench_command import bench
from phi4audio_cli.cli.console import print_message
from phi4audio_cli.cli.doctor_command import doctor
from phi4audio_cli.cli.evaluate_command import evaluate
from phi4audio_cli.cli.render_command import render
from phi4audio_cli.cli.standard_streams import (
    open_closed_descriptors,
    stdout_error,
    tolerate_lost_streams,
)
from phi4audio_cli.cli.strip_export_command import strip_export
from phi4audio_cli.cli.summarize_command import summarize
from phi4audio_cli.cli.transcribe_command import transcribe
from phi4audio_cli.cli.translate_command import translate
from phi4audio_cli.errors import ExitCode, Phi4AudioError, UsageError
from phi4audio_cli.storage import error_reason


def samples() -> None:
    """Print the folder of the bundled sample recordings.

    Try the tool on them: phi4audio transcribe "$(phi4audio samples)" --model demo -o demo-output
    """
    from importlib.resources import files

    typer.echo(str(files("phi4audio_cli") / "demo" / "samples"))


app = typer.Typer(
    name="phi4audio",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    # Help in frames would cost as much time as all the rest of it.
    rich_markup_mode=None,
)
app.command()(transcribe)
app.command()(translate)
app.command()(summarize)
app.command()(ask)
app.command("eval")(evaluate)
app.command()(render)
app.command()(strip_export)
app.command()(doctor)
app.command()(samples)
app.command()(bench)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"phi4audio {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def phi4audio(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Transcripts, subtitles and more of your recordings, on your own machine."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    else:
        _check_working_folder()


def _check_working_folder() -> None:
    """Refuse a deleted working folder; torch's libraries abort the process in one.

    Raises:
        UsageError: The folder does not exist.
    """
    try:
        os.getcwd()  # noqa: PTH109 (a Path is not needed)
    except FileNotFoundError as error:
        raise UsageError(
            "the working folder does not exist any more", remedy="change to an existing folder"
        ) from error


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave the process with its exit code.

    Args:
        args: The command line without the program's name; None: the process's own.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    open_closed_descriptors()
    tolerate_lost_streams()
    try:
        app(arguments, prog_name="phi4audio")
        code: int = ExitCode.OK
    except Phi4AudioError as error:
        code = _print_error(error, arguments)
    except KeyboardInterrupt:
        print_message("interrupted")
        code = ExitCode.INTERRUPTED
    except Exception as error:
        code = _print_bug(error, arguments)
    except SystemExit as exit_request:
        code = exit_request.code if isinstance(exit_request.code, int) else ExitCode.OK
    sys.exit(int(_check_stdout(code)))


def _print_error(error: Phi4AudioError, arguments: Sequence[str]) -> ExitCode:
    print_message(str(error))
    if _is_verbose(arguments):
        traceback.print_exception(error)
    return error.exit_code


def _print_bug(error: Exception, arguments: Sequence[str]) -> ExitCode:
    """Say that an unexpected exception is our bug, and what to do."""
    remedy = "please report it" if _is_verbose(arguments) else "run again with --verbose to see it"
    print_message(f"this is a bug: {type(error).__name__}: {error} ({remedy})")
    if _is_verbose(arguments):
        traceback.print_exception(error)
    return ExitCode.BUG


def _is_verbose(arguments: Sequence[str]) -> bool:
    return "--verbose" in arguments or "-v" in arguments


def _check_stdout(code: int) -> int:
    """Return the exit code, which tells of lost text unless the run failed for another reason."""
    error = stdout_error()
    if error is None:
        return code
    reason = error_reason(error)
    print_message(f"standard output can't take the text: {reason} (other files are written)")
    return ExitCode.OUTPUT if code in (ExitCode.OK, ExitCode.FILES_FAILED) else code
