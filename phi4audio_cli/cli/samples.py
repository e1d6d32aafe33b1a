"""`phi4audio samples`."""

from __future__ import annotations

import typer


def samples() -> None:
    """Print the folder of the bundled sample recordings.

    Try the tool on them: phi4audio transcribe "$(phi4audio samples)" --model demo -o demo-output
    """
    from importlib.resources import files

    typer.echo(str(files("phi4audio_cli") / "demo" / "samples"))
