"""The parts of scripts/bench_quantize.py."""
