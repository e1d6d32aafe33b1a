"""Make a checkpoint with random weights: `python -m tools.make_checkpoint`."""

from tools.make_checkpoint.random_checkpoint import main

main()
