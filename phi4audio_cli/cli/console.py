"""Messages on standard error: one line each, with control characters escaped."""

from __future__ import annotations

import sys


def print_message(text: str) -> None:
    """Print one line on standard error, as `phi4audio: text`."""
    print(f"phi4audio: {escape_control(text)}", file=sys.stderr, flush=True)  # noqa: T201


def escape_control(text: str) -> str:
    """Escape characters that move the cursor, start a new line or can't be encoded.

    The name of a file may contain any of them; a message stays one line of visible characters.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
