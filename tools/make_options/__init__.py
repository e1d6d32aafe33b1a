"""Write all that follows from settings.py: Typer options, presets and docs/options.md."""
