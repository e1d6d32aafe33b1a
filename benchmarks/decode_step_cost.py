#!/usr/bin/env python3
"""What a decode step costs a row, by the number of rows that write side by side on a CPU.

    python scripts/bench_rows.py [--layers 6] [--rounds 5]

The mid-size decoder's layers with random weights, one thread, row counts in turn; seconds are the
process's own. Answers how many rows at once `--batch-size auto` should take where memory is plenty.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.linears import suit_few_rows
from phi4audio_cli.model.load import build, fill
from phi4audio_cli.model.placement import Placement
from tools.make_checkpoint.checkpoint_configs import native_config
from tools.make_checkpoint.network_sizes import SIZES

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
POSITION = 300
"""Of the token that is written: about a prompt of 20 s and half of its answer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    decoder = make_decoder(options.layers)
    spent: dict[int, list[float]] = {rows: [] for rows in BATCH_SIZES}
    with torch.inference_mode():
        for _ in range(options.rounds + 1):
            for rows in BATCH_SIZES:
                began = time.process_time()
                decoder.step([1] * rows, [POSITION] * rows)
                spent[rows].append(time.process_time() - began)
    for rows, found in spent.items():
        step = 1000 * statistics.median(found[1:])  # what happens once happens in the first
        print(f"{rows:3} rows: {step:7.1f} ms a step, {step / rows:6.2f} ms a row")


def make_decoder(layers: int) -> Decoder:
    """Make a decoder with room for the most rows."""
    config = native_config(SIZES["mid"])
    config["num_hidden_layers"] = layers
    config["audio_config"]["num_blocks"] = 1
    model = build(config, "sdpa")
    state = model.state_dict()
    weights = (
        (name, 0.02 * torch.randn(tensor.shape))
        for name, tensor in state.items()
        if name != "lm_head.weight"
    )
    fill(model, weights, torch.float32, Placement(torch.device("cpu"), layers, layers))
    suit_few_rows(model)
    return Decoder(model, max(BATCH_SIZES), POSITION + 1)


if __name__ == "__main__":
    main()
