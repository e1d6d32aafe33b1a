"""The parts of ``scripts/train_demo.py``: the demo model's data, its training, its evaluation."""
