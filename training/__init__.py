"""Training of the demo checkpoint and its sample recordings."""
