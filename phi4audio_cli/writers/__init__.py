"""Output formats: one module per format, and their registry."""

from phi4audio_cli.writers.output_formats import (
    FORMATS,
    Writer,
    check_format,
    expand_formats,
    find_writer,
    render,
)

__all__ = ["FORMATS", "Writer", "check_format", "expand_formats", "find_writer", "render"]
