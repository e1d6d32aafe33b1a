"""How good a text is, held against a reference."""
