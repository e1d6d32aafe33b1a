"""Parts of simulate_scale.py and bench_driver.py."""
