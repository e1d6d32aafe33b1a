"""The processes of `bench_startup.py`."""
