"""The parts of scripts/make_checkpoint.py."""
