"""What `scripts/bench_repair.py` measures with."""
