"""Messages on standard error: one line each, with control characters escaped."""

from __future__ import annotations

import os
import sys


def print_message(text: str) -> None:
    """Print one line on standard error, as `phi4audio: text`."""
    print(f"phi4audio: {escape_control(text)}", file=sys.stderr, flush=True)  # noqa: T201


def escape_control(text: str) -> str:
    """Escape what would move the cursor, start a new line or can't be encoded.

    A file may be called anything; a message stays one line and never steers the terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def format_duration(seconds: float) -> str:
    """Say a length of time: `0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def discard_stdout() -> None:
    """Send the rest of standard output nowhere, after its reader went away.

    The file descriptor itself is replaced, so that the interpreter's last flush is quiet too.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
