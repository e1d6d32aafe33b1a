"""The `phi4audio` command: its sub-commands, and what becomes of errors.

Nothing here may load torch, transformers or pydantic: `phi4audio --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from phi4audio_cli import __version__
from phi4audio_cli.cli.ask import ask
from phi4audio_cli.cli.bench import bench
from phi4audio_cli.cli.doctor import doctor
from phi4audio_cli.cli.evaluate import evaluate
from phi4audio_cli.cli.messages import complain, discard_stdout
from phi4audio_cli.cli.render import render
from phi4audio_cli.cli.samples import samples
from phi4audio_cli.cli.strip_export import strip_export
from phi4audio_cli.cli.summarize import summarize
from phi4audio_cli.cli.transcribe import transcribe
from phi4audio_cli.cli.translate import translate
from phi4audio_cli.errors import ExitCode, Phi4AudioError

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


def _show_version(asked: bool) -> None:
    if asked:
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


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave the process with its exit code.

    Args:
        args: The command line without the program's name; None: the process's own.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    _make_streams_safe()
    try:
        app(arguments, prog_name="phi4audio")
        code: int = ExitCode.OK
    except Phi4AudioError as error:
        code = _explain(error, arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        code = ExitCode.INTERRUPTED
    except Exception as error:
        code = _admit(error, arguments)
    except SystemExit as exit_request:
        code = exit_request.code if isinstance(exit_request.code, int) else ExitCode.OK
    _flush()
    sys.exit(int(code))


def _explain(error: Phi4AudioError, arguments: Sequence[str]) -> ExitCode:
    complain(str(error))
    if _is_verbose(arguments):
        traceback.print_exception(error)
    return error.exit_code


def _admit(error: Exception, arguments: Sequence[str]) -> ExitCode:
    """Say that an unexpected exception is our bug, and what to do."""
    remedy = "please report it" if _is_verbose(arguments) else "run again with --verbose to see it"
    complain(f"this is a bug: {type(error).__name__}: {error} ({remedy})")
    if _is_verbose(arguments):
        traceback.print_exception(error)
    return ExitCode.BUG


def _is_verbose(arguments: Sequence[str]) -> bool:
    return "--verbose" in arguments or "-v" in arguments


def _make_streams_safe() -> None:
    """Let no character and no closed stream end the program: results matter more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Flush while errors can still be caught; at interpreter exit they would be shown."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        discard_stdout()
