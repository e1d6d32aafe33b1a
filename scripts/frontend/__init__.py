"""What scripts/bench_frontend.py measures: stages, transfer between processes, a fed device."""
