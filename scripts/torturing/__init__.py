"""What scripts/torture.py does to a job."""
