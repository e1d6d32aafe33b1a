"""Write the generated files: `python -m tools.make_options`, from the root of the project."""

from __future__ import annotations

from pathlib import Path

from tools.make_options.presets import preset_files
from tools.make_options.typer_options import TYPER_OPTIONS_PATH, typer_options_module

ROOT = Path(__file__).resolve().parents[2]


def write(path: str, text: str) -> None:
    """Write a file of the project, unless it has this text already."""
    target = ROOT / path
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    write(TYPER_OPTIONS_PATH, typer_options_module())
    for path, text in preset_files().items():
        write(path, text)
    # This imports the commands, which must have the options just written.
    from tools.make_options.options_page import options_page

    write("docs/options.md", options_page())
