"""Pure functions on text and times."""
