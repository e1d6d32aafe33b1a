"""Checkpoints with random weights, real names and real shapes."""
