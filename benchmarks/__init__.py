"""Benchmarks: speed and memory as ratios to a named baseline of the same run."""
